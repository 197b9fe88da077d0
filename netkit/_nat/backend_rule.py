"""What a rule does in its life, whichever backend has it, and whatever it says."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from weakref import WeakSet

from netkit._known import require_namespace
from netkit._lifecycle import NAT, ROOT, Resource, Teardown, Undo
from netkit._lifecycle.owned import refuse_second_owner
from netkit._nat.backend import add_rules, adopt_rule, check_name
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit._system.signals import deferred_signals
from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from netkit._lifecycle import Owned
    from netkit._namespace import Namespace
    from netkit._nat.backend import Backend
    from netkit._nat.nftables_compile import Spec


class NatCounters(tuple[int, int]):
    """``(packets, bytes)`` that met a rule; also ``.packets`` and ``.bytes``."""

    __slots__ = ()

    @property
    def packets(self) -> int:
        """Packets; of a connection, only the first one meets a NAT rule."""
        return self[0]

    @property
    def bytes(self) -> int:
        """Bytes of those packets."""
        return self[1]

    def __repr__(self) -> str:
        return f"<{self[0]} packets, {self[1]} bytes>"


# What this process has detached, and still has an object for: `ns.nat.verify` looks after it as well.
detached: WeakSet[Resource] = WeakSet()

_EXPECTED = 16  # sockets that another process opens meanwhile


class BackendRule(Resource, Shown):
    """The rules of one spec: added, found and removed by a backend."""

    _stage = NAT
    _leaving = False  # from when it is being removed: whoever looks after rules leaves it alone

    def __init__(self, ns: Namespace, spec: Spec, backend: str | None = None) -> None:
        super().__init__()
        self._netns = require_namespace(ns, "ns")
        self._spec: Spec = spec
        self._wanted = check_name(backend)
        self._runtime: Runtime | None = None
        self._backend: Backend | None = None
        self._token: Any = None

    @property
    def backend(self) -> str | None:
        """``"nftables"`` or ``"iptables"``; before create(), what was asked for."""
        return self._wanted if self._backend is None else self._backend.name

    @property
    def netns(self) -> Namespace:
        """The namespace it is in."""
        return self._netns

    @property
    def counters(self) -> NatCounters:
        """``(packets, bytes)`` so far: a fresh read. NotFoundError when somebody removed the rule."""
        self._check_live()
        return NatCounters(self._live_backend().counters(self._token))

    # -- lifecycle ----------------------------------------------------------------

    def _create(self, undo: Undo) -> None:
        self._runtime, self._leaving = self._netns._live_runtime(), False
        with deferred_signals():  # what was added is known by the token alone
            self._backend, (self._token,) = add_rules(self._runtime, self._wanted, [self._spec])
            undo.add(partial(self._backend.remove, self._token))

    @classmethod
    def _prepare(cls, resources: Sequence[Any], progress: Callable[[int], object]) -> None:
        """Their sockets are opened while links are made."""
        rules: Sequence[BackendRule] = resources
        runtimes = {rule._netns._open: None for rule in rules if rule._wanted != "iptables"}
        for runtime in [*runtimes][:_EXPECTED]:
            if runtime is not None:
                runtime.expect_netfilter()

    @classmethod
    def _begin_many(cls, members: Sequence[Any], group: int, progress: Callable[[int], object]) -> None:
        rules: Sequence[BackendRule] = members
        for (runtime, wanted), some in groupby(
            rules, lambda rule: (rule._netns._live_runtime(), rule._wanted)
        ):
            run = list(some)
            with deferred_signals():
                backend, tokens = add_rules(runtime, wanted, [rule._spec for rule in run])
                for rule, token in zip(run, tokens, strict=True):
                    rule._runtime, rule._backend, rule._token = runtime, backend, token
                    rule._leaving = False
                    rule._made()
            progress(len(run))

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _remove(self, teardown: Teardown) -> None:
        self._leaving, runtime = True, self._runtime
        if (
            self._backend is not None
            and runtime is not None
            and runtime.fd >= 0
            and runtime not in teardown.doomed
        ):
            self._backend.remove(self._token)

    def _removed(self) -> None:
        super()._removed()
        self._backend = self._token = None

    def _exists(self) -> bool:
        return self._live_backend().exists(self._token)

    def _detach(self) -> None:
        self._token = self._live_backend().detach(self._token)
        detached.add(self)

    def _present_owner(self) -> Owned | str | None:
        """Who owns it; rules of iptables bear no mark, so equal ones are counted."""
        return self._live_backend().owner_of(self._token, self._others())

    def _others(self) -> list[tuple[Owned, Any]]:
        return [
            (each, each._token)
            for each in ROOT._held_members()
            if isinstance(each, BackendRule)
            and each is not self
            and each._is_alive()
            and each._backend is self._backend
        ]

    def _lose(self) -> None:
        backend, token, self._backend, self._token = self._backend, self._token, None, None
        if backend is not None:
            backend.detach(token)

    def _find(self) -> None:
        """Such a rule that was detached, taken over at once: others may want it, and there may be several."""
        self._runtime = self._netns._live_runtime()
        self._backend = self._token = None  # of a creation that failed, say
        with deferred_signals():
            self._backend, self._token = adopt_rule(self._runtime, self._wanted, self._spec)

    def _adopt(self) -> None:
        backend = self._live_backend()
        self._token = backend.adopt(self._token)
        try:
            refuse_second_owner(self)  # another process may have looked when this one did: now both are noted
        except BaseException:
            self._token = backend.detach(self._token)
            raise

    def _restore(self) -> None:
        """Put back what somebody has removed; what is detached goes back to where it was."""
        backend = self._live_backend()
        with deferred_signals():
            backend.remove(self._token)  # of several rules, some may be there
            (self._token,) = backend.add([self._spec])
            if self._state == "borrowed":
                self._token = backend.detach(self._token)

    def _live_backend(self) -> Backend:
        if self._backend is None:
            raise StateError(f"{self!r} is not in the kernel")
        return self._backend
