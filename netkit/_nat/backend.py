"""The two backends of NatRule behind one face, and the choice between them."""

from __future__ import annotations

import errno

from netkit._runtime import Runtime
from netkit._spec.value import shown
from netkit.errors import (
    BackendError,
    KernelError,
    NetkitError,
    NotFoundError,
    SpecError,
    kernel_error,
    naming_limits,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Protocol

    from netkit._lifecycle import Owned
    from netkit._nat.nftables_compile import Spec

    class Backend(Protocol):
        """What a NatRule asks of a backend. `token` is what `add` returned for it."""

        name: str

        def add(self, specs: Sequence[Spec]) -> list[Any]: ...
        def remove(self, token: Any) -> None: ...
        def counters(self, token: Any) -> tuple[int, int]: ...
        def exists(self, token: Any) -> bool: ...
        def detach(self, token: Any) -> Any: ...
        def take(self, spec: Spec) -> Any | None: ...
        def adopt(self, token: Any) -> Any: ...
        def owner_of(self, token: Any, others: Iterable[tuple[Owned, Any]]) -> Owned | str | None: ...


NAMES = ("nftables", "iptables")

# What a kernel without (this part of) nf_tables answers.
ABSENT = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.EINVAL)


class Nftables:
    """nf_tables over netlink: needs no library and no binary."""

    name = "nftables"

    def __init__(self, runtime: Runtime) -> None:
        from netkit._nat.nftables import NftablesBackend

        self._rules = NftablesBackend(runtime.netfilter)
        self.table = self._rules.table

    def add(self, specs: Sequence[Spec]) -> list[Any]:
        """Add in one atomic batch."""
        return [*self._rules.add(specs)]

    def remove(self, token: Any) -> None:
        """Remove; gone already is success."""
        self._rules.remove([token])

    def counters(self, token: Any) -> tuple[int, int]:
        """Packets and bytes."""
        return self._rules.counters(token)

    def exists(self, token: Any) -> bool:
        """Whether the kernel has it."""
        return self._rules.exists(token)

    def detach(self, token: Any) -> Any:
        """Move it to the plain table `netkit`, where it outlives us."""
        return self._rules.detach([token])[0]

    def adopt(self, token: Any) -> Any:
        """Take it from the plain table into ours; what is there already is."""
        return self._rules.adopt([token.mark])[0]

    def take(self, spec: Spec) -> Any | None:
        """What a process has detached that does the same, and is ours from now on."""
        while (found := self._rules.find(spec)) is not None:
            try:
                return self.adopt(found)
            except NotFoundError:
                continue  # another process was faster: there may be a second one
        return None

    def owner_of(self, token: Any, others: Iterable[tuple[Owned, Any]]) -> None:
        """Nobody: a table has one owner, and what nobody owns is in the plain one."""

    def close(self) -> None:
        """The table goes with the socket, which the runtime closes."""


class Iptables:
    """Legacy iptables through python-iptables, in a worker process inside the namespace."""

    name = "iptables"

    def __init__(self, runtime: Runtime) -> None:
        from netkit._nat.iptables_client import IptablesWorker  # slow to import: 17 ms
        from netkit._system.piped_helper import spawn_helper

        def spawn(argv: list[str], env: dict[str, str]) -> Any:
            with naming_limits("start it"):
                return spawn_helper(runtime.starter(), argv, env)

        self._runtime = runtime
        self.worker = IptablesWorker(spawn, netns=runtime.label)

    def add(self, specs: Sequence[Spec]) -> list[Any]:
        """Add all rules of the specs, in one commit of each table under the xtables lock.

        Where the kernel has no such table for IPv6, rules of no family are for IPv4, as in nftables.
        """
        from netkit._nat.iptables_rules import BOTH

        try:
            return self._add(specs, BOTH)
        except KernelError as problem:
            families = {spec.family for spec in specs}
            if not _lacks_table(problem) or None not in families or 6 in families:
                raise
            return self._add(specs, (4,))

    def _add(self, specs: Sequence[Spec], families: Sequence[int]) -> list[Any]:
        """All of them; those that name no family for each of these."""
        from netkit._nat.iptables_noted import NotedRules, note_new
        from netkit._nat.iptables_rules import rules_for

        tokens = [NotedRules(rules_for(spec, families)) for spec in specs]
        try:
            if self._runtime.survives:
                note_new(tokens, self._runtime, self.worker.list)
            self.worker.transaction(add=[rule for rules in tokens for rule in rules])
        except KernelError:  # of a BackendError it is not known whether they are there
            for token in tokens:
                token.strike()
            raise
        return [*tokens]

    def remove(self, token: Any) -> None:
        """Remove; gone already is success."""
        self.worker.transaction(remove=[*token])
        token.strike()

    def counters(self, token: Any) -> tuple[int, int]:
        """Packets and bytes, over all its rules."""
        counted = [self.worker.counters(rule) for rule in token]
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, token: Any) -> bool:
        """Whether the kernel has all its rules."""
        return all(self.worker.exists(rule) for rule in token)

    def detach(self, token: Any) -> Any:
        """Legacy rules outlive us anyway."""
        token.strike()
        return token

    def adopt(self, token: Any) -> Any:
        """They carry no owner: nothing to change."""
        if self._runtime.survives:
            token.note(self._runtime)
            token.inherit(self._runtime)
        return token

    def owner_of(self, token: Any, others: Iterable[tuple[Owned, Any]]) -> Owned | str | None:
        """Who owns the rules, of ``others`` in this program with their tokens, or of other processes."""
        from netkit._nat.iptables_noted import owner_of

        return owner_of(self._runtime, self.worker.list, token, others)

    def take(self, spec: Spec) -> Any | None:
        """Rules that do the same, whoever made them; they are ours when `adopt` has noted them."""
        from netkit._nat.iptables_noted import NotedRules
        from netkit._nat.iptables_rules import rules_for

        token = NotedRules(rules_for(spec))
        try:
            found = self.exists(token)
        except KernelError as problem:
            if not _lacks_table(problem) or spec.family is not None:
                raise
            token = NotedRules(rules_for(spec, (4,)))
            found = self.exists(token)
        return token if found else None

    def close(self) -> None:
        """End the worker process."""
        self.worker.close()


def _lacks_table(problem: KernelError) -> bool:
    from netkit._nat.iptables_client import NO_TABLE

    return problem.errno in NO_TABLE


def check_name(name: str | None) -> str | None:
    """A backend's name, or None for the choice by probing."""
    if name is not None and name not in NAMES:
        raise SpecError(f"backend {shown(name)} is unknown: give 'nftables', 'iptables', or leave it out")
    return name


def named(runtime: Runtime, name: str) -> Backend:
    """The backend of this name in this namespace: one per process."""
    if name == "nftables":
        return runtime.once("nftables", lambda: Nftables(runtime))
    return runtime.once("iptables", lambda: Iptables(runtime))


def add_rules(runtime: Runtime, name: str | None, specs: Sequence[Spec]) -> tuple[Backend, list[Any]]:
    """Add through the named backend, all or none; without a name, through the first one that can.

    Raises BackendError with what was tried when neither can.
    """
    if name is not None:
        backend = named(runtime, name)
        return backend, backend.add(specs)
    try:
        backend = named(runtime, "nftables")
        return backend, backend.add(specs)
    except (KernelError, OSError) as problem:
        if problem.errno not in ABSENT:
            raise
        return _fall_back(runtime, specs, problem)


def adopt_rule(runtime: Runtime, name: str | None, spec: Spec) -> tuple[Backend, Any]:
    """A rule that was detached, of the named backend, or of the first one that the kernel has.

    NotFoundError if there is none.
    """
    try:
        backend = named(runtime, name or "nftables")
        found = backend.take(spec)
        if found is not None:
            return backend, found
    except (KernelError, OSError) as problem:
        if name is not None or problem.errno not in ABSENT:
            raise
        return adopt_rule(runtime, "iptables", spec)
    raise kernel_error(
        f"adopt NAT rule '{spec}'", errno.ENOENT, netns=runtime.label,
        hint=f"No such rule of {backend.name} was detached here, or somebody else has adopted it",
    )  # fmt: skip


def _fall_back(runtime: Runtime, specs: Sequence[Spec], refusal: OSError) -> tuple[Backend, list[Any]]:
    try:
        backend = named(runtime, "iptables")
        return backend, backend.add(specs)
    except NetkitError as problem:
        raise BackendError(
            f"no NAT backend can do this in {runtime.label}. "
            f"Tried nftables: {refusal}. Tried iptables: {problem}"
        ) from problem
