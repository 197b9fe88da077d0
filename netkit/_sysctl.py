"""The sysctls of a namespace: read, write, and override for a while."""

from __future__ import annotations

from netkit._lifecycle import ROUTES, Resource, Teardown, Undo
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit._system import sysctl as system
from netkit._system.signals import deferred_signals
from netkit.errors import NotFoundError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from netkit._namespace import Namespace


class Sysctls(Shown):
    """The ``/proc/sys`` of a namespace, by key: ``ns.sysctl["net.ipv4.ip_forward"]``.

    Keys are those of sysctl(8): dots, or slashes where a device name has a dot
    (``net/ipv4/conf/eth0.100/forwarding``). Values read as str. Assigning writes only if the
    value differs and is not undone; `override` is undone. A missing key is NotFoundError; one that is
    not net.* belongs to the machine, and is SpecError.

    Twin: ``sysctl``. Source: sysctl(8), ip-sysctl.rst. Writing needs root in the user namespace that owns
    the network namespace.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     box.sysctl["net.ipv4.ip_forward"] = 1
        ...     print(box.sysctl["net.ipv4.ip_forward"])
        1
    """

    __slots__ = ("_netns",)

    def __init__(self, netns: Namespace) -> None:
        self._netns = netns

    def __getitem__(self, key: str) -> str:
        path = system.key_path(key)
        return self._netns._live_runtime().inside(lambda: system.read(path))

    def __setitem__(self, key: str, value: str | int) -> None:
        path, text = system.key_path(key), system.value_text(value)
        self._netns._live_runtime().inside(lambda: system.write(path, text))

    # Not by numbers, as Python would go through what has __getitem__ only.
    __iter__ = None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        path = system.key_path(key)
        return self._netns._live_runtime().inside(lambda: system.present(path))

    def get(self, key: str, default: str | None = None) -> str | None:
        """The value, or the default when there is no such key. Twin: ``sysctl -n KEY``.

        Raises SpecError for a key that is not net.*.
        """
        try:
            return self[key]
        except NotFoundError:
            return default

    def override(self, key: str, value: str | int) -> SysctlOverride:
        """A resource that sets a value while it lives: for `with`, create() or `Scope.own`.

        The old value comes back at the end, if the value is still the one set here, together
        with the per-device values that the kernel reset along with it. Nested overrides of one
        key are counted, and so are those of other processes: the last one restores.

        Twin: ``sysctl -w KEY=VALUE`` and back. Raises SpecError for a bad key or value; its creation
        NotFoundError for a missing key, and KernelError with the kernel's words for a refused value.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     with box.sysctl.override("net.ipv4.ip_forward", 1):
            ...         print(box.sysctl["net.ipv4.ip_forward"], end=" ")
            ...     print(box.sysctl["net.ipv4.ip_forward"])
            1 0
        """
        return SysctlOverride(self._netns, key, value)

    def __repr__(self) -> str:
        return f"<Sysctls of {self._netns._called()}>"


def _runtime_of(override: SysctlOverride) -> Runtime:
    return override._netns._live_runtime()


class SysctlOverride(Resource, Shown):
    """A sysctl that has another value while this lives; made by ``ns.sysctl.override(key, value)``."""

    _stage = ROUTES

    def __init__(self, netns: Namespace, key: str, value: str | int) -> None:
        super().__init__()
        self._netns = netns
        self._key = key
        self._path = system.key_path(key)
        self._text = system.value_text(value)
        self._runtime: Runtime | None = None
        self._override: system.Override | None = None

    @property
    def key(self) -> str:
        """The key as it was given."""
        return self._key

    def _create(self, undo: Undo) -> None:
        override = self._planned()
        undo.add(override.end)
        override.begin()

    def _planned(self) -> system.Override:
        runtime = self._runtime = self._netns._live_runtime()
        # No other process finds an anonymous namespace of ours: it needs no record in /run.
        alone = runtime.ours and self._netns.name is None
        self._override = system.Override(
            runtime.identity,
            runtime.inside,
            self._path,
            self._text,
            alone=alone,
            place="" if alone or not runtime.opener.guarded else runtime.place,
        )
        return self._override

    @classmethod
    def _begin_many(cls, members: Sequence[Any], group: int, progress: Callable[[int], object]) -> None:
        """Those of a namespace in one visit."""
        from itertools import groupby

        for runtime, some in groupby(members, _runtime_of):
            run: list[SysctlOverride] = list(some)
            with deferred_signals():  # else they could go on to begin behind the back of an undoing
                system.begin_all([each._planned() for each in run], runtime.inside)
            for each in run:
                each._made()
            progress(len(run))

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _outlived(self) -> None:
        # The number of a namespace is given away again: who overrides the key there is another user.
        if self._override is not None and self._is_gone():
            self._override.forget()
        super()._outlived()

    def _remove(self, teardown: Teardown) -> None:
        override, runtime = self._override, self._runtime
        if override is None or runtime is None:
            return
        if runtime.fd < 0 or runtime in teardown.doomed:
            override.forget()
        else:
            override.end()

    def _exists(self) -> bool:
        value = self._netns.sysctl.get(self._key)
        return value is not None and value.split() == self._text.split()  # `0 1` is read as `0\t1`

    def _find(self) -> None:
        self._adopt()

    def _adopt(self) -> None:
        raise StateError(
            f"{self!r} can't be adopted: what the value was before is forgotten when it is detached. "
            f"Override it anew, or assign: ns.sysctl[{self._key!r}] = value"
        )

    def _detach(self) -> None:
        if self._override is not None:
            self._override.forget()

    def __repr__(self) -> str:
        return f"<sysctl {self._key} = {self._text} in {self._netns._called()}{self._aside()}>"
