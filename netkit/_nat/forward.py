"""What NAT needs of forwarding: bridges set apart, and chains of others that are to let packets pass."""

from __future__ import annotations

from errno import ENOENT
from functools import partial
from weakref import WeakSet

from netkit._known import require_namespace
from netkit._lifecycle import NAT, Resource, Teardown, Undo
from netkit._lifecycle.inheritance import inherit_marked
from netkit._nat.backend import Iptables, named
from netkit._nat.backend_rule import BackendRule, detached
from netkit._nat.forward_compile import forward_expressions, forward_iptables
from netkit._nat.forward_gates import closed_gates, passes_translated
from netkit._nat.iptables_noted import NotedRules
from netkit._nat.iptables_rules import rule_text
from netkit._nat.nftables_match import said
from netkit._nat.nftables_rules import new_mark
from netkit._netlink import nft
from netkit._netlink.nft_marked import delete_marked, rules_of_chain
from netkit._spec.forward import ForwardSpec
from netkit._system.entries import MARKED
from netkit._system.journal import note, strike
from netkit._system.signals import deferred_signals
from netkit.errors import NotFoundError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from netkit._namespace import Namespace
    from netkit._nat.forward_gates import Gate
    from netkit._nat.iptables_rules import Rule
    from netkit._runtime import Runtime


class ForwardRule(BackendRule):
    """Rules of our own chain `forward`: what they drop is dropped, whatever others accept."""

    def __init__(self, ns: Namespace, spec: ForwardSpec) -> None:
        super().__init__(ns, spec)

    def __repr__(self) -> str:
        return f"<ForwardRule {self._spec} in {self._netns._called()}>"


class OpenedForward(Resource):
    """Accepts at the head of each chain that drops what nobody accepts: with our mark, for as long as it is.

    Those chains are others'. Neither their policy nor any of their rules is touched. After a process that was
    killed the guard removes the rules, by their mark.
    """

    _stage = NAT
    _leaving = False  # from when it is being removed: whoever looks after rules leaves it alone

    def __init__(self, ns: Namespace, spec: ForwardSpec) -> None:
        super().__init__()
        self._netns = require_namespace(ns, "ns")
        self._spec = spec
        self._runtime: Runtime | None = None
        self._mark = ""
        self._opened: list[Gate] = []
        self._legacy = NotedRules()
        self._noted: list[int] = []
        _all.add(self)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The chains that it has opened."""
        return tuple(self._opened)

    def _create(self, undo: Undo) -> None:
        with deferred_signals():
            runtime = self._runtime = self._netns._live_runtime()
            self._leaving = False
            self._mark = new_mark()
            undo.add(partial(self._close, runtime))
            self._open(runtime)

    def _open(self, runtime: Runtime) -> None:
        for gate in closed_gates(runtime, self._versions()):
            if gate.backend == "nftables":
                self._open_nftables(runtime, gate)
            else:
                self._open_iptables(runtime, gate)

    def _versions(self) -> set[int]:
        families = {line.family for line in self._spec.lines}
        return {4, 6} if None in families else {family for family in families if family is not None}

    def _open_nftables(self, runtime: Runtime, gate: Gate) -> None:
        if runtime.survives:
            self._noted.append(note(MARKED, runtime.place, gate.family, gate.table, gate.chain, self._mark))
        self._opened.append(gate)
        words = f"open {gate}: {self._spec}"
        requests = [
            nft.new_rule(
                gate.family, gate.table, gate.chain, content, nft.comment(self._mark), words, first=True
            )
            for content in reversed(self._contents(gate))
        ]
        runtime.netfilter.transact(nft.transaction(requests))

    def _contents(self, gate: Gate) -> list[bytes]:
        return [
            forward_expressions(line, gate.family, for_iptables=gate.is_of_iptables_nft)
            for line in self._spec.lines
            if line.family is None or line.family in gate.versions
        ]

    def _open_iptables(self, runtime: Runtime, gate: Gate) -> None:
        rules = self._legacy_rules(gate)
        added = NotedRules(rules)
        if runtime.survives:
            added.note(runtime)  # the comment is nobody else's: there is none before
        self._legacy += added
        self._legacy._noted += added._noted
        self._opened.append(gate)
        _iptables(runtime).worker.transaction(add=rules)

    def _close(self, runtime: Runtime) -> None:
        for gate in self._opened:
            if gate.backend == "nftables":
                delete_marked(runtime.netfilter, gate.family, gate.table, gate.chain, self._mark)
        if self._legacy:
            _iptables(runtime).worker.transaction(remove=self._legacy)
        self._forget()

    def _forget(self) -> None:
        """It is not ours any more, or not there."""
        self._legacy.strike()
        while self._noted:
            strike(self._noted.pop())

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _remove(self, teardown: Teardown) -> None:
        self._leaving, runtime = True, self._runtime
        if runtime is not None and runtime.fd >= 0 and runtime not in teardown.doomed:
            self._close(runtime)

    def _removed(self) -> None:
        super()._removed()
        self._forget()

    def _exists(self) -> bool:
        """Whether each chain that drops has them at present: one that was made anew counts."""
        runtime = self._live()
        marked = all(self._is_marked(runtime, gate) for gate in self._gates_now(runtime))
        return marked and all(_iptables(runtime).worker.exists(rule) for rule in self._legacy)

    def _gates_now(self, runtime: Runtime) -> list[Gate]:
        nftables = [g for g in closed_gates(runtime, self._versions()) if g.backend == "nftables"]
        return [*dict.fromkeys([*nftables, *[g for g in self._opened if g.backend == "nftables"]])]

    def _is_marked(self, runtime: Runtime, gate: Gate) -> bool:
        rules = rules_of_chain(runtime.netfilter, gate.family, gate.table, gate.chain)
        return sum(rule.comment == self._mark for rule in rules) == len(self._contents(gate))

    def _detach(self) -> None:
        self._forget()
        detached.add(self)

    def _find(self) -> None:
        """The same accepts that a process has left, by what they say; taken over at once."""
        runtime = self._runtime = self._netns._live_runtime()
        gates = closed_gates(runtime, self._versions())
        owned = _owned_marks(runtime)
        marks = [mark for gate in gates for mark in self._marks(runtime, gate) if mark not in owned]
        if not marks:
            raise NotFoundError(f"adopt what opens forwarding: {self._spec}", ENOENT, netns=runtime.label)
        self._mark = marks[0]
        for gate in gates:
            if gate.backend == "nftables" and self._is_marked(runtime, gate):
                self._opened.append(gate)
            elif gate.backend == "iptables" and self._mark in self._marks(runtime, gate):
                self._opened.append(gate)
                self._legacy += self._legacy_rules(gate)

    def _legacy_rules(self, gate: Gate) -> list[Rule]:
        rules = forward_iptables(self._spec, self._mark.replace(":", "-"))
        return [rule for rule in rules if rule["family"] == gate.family]

    def _marks(self, runtime: Runtime, gate: Gate) -> list[str]:
        """The marks under which a chain has rules that say the same."""
        if gate.backend == "iptables":
            return self._legacy_marks(_iptables(runtime).worker.list(gate.family, "filter"), gate)
        wanted = [said(content) for content in self._contents(gate)]
        rules = rules_of_chain(runtime.netfilter, gate.family, gate.table, gate.chain)
        marked = [(r.comment, r) for r in rules if r.comment is not None and r.comment.startswith("netkit:")]
        return [mark for mark, rule in marked if said(rule.expressions) in wanted]

    def _legacy_marks(self, listed: list[str], gate: Gate) -> list[str]:
        words = [line.partition(" --comment netkit-")[2].split(" ")[0] for line in listed]
        marks = dict.fromkeys([f"netkit:{word}" for word in words if word])
        return [mark for mark in marks if self._texts(mark, gate) <= set(listed)]

    def _texts(self, mark: str, gate: Gate) -> set[str]:
        rules = forward_iptables(self._spec, mark.replace(":", "-"))
        return {rule_text(rule) for rule in rules if rule["family"] == gate.family}

    def _adopt(self) -> None:
        runtime = self._live()
        if runtime.survives:
            for gate in self._opened:
                if gate.backend == "nftables":
                    self._noted.append(
                        note(MARKED, runtime.place, gate.family, gate.table, gate.chain, self._mark)
                    )
            self._legacy.note(runtime)
            inherit_marked(runtime.opener.journals, self._mark)
            self._legacy.inherit(runtime)

    def _restore(self) -> None:
        """Put back what somebody has removed, also into a chain that was made anew."""
        runtime = self._live()
        with deferred_signals():
            self._close(runtime)
            self._opened, self._legacy = [], NotedRules()
            self._open(runtime)
            if self._state == "borrowed":
                self._forget()

    def _live(self) -> Runtime:
        if self._runtime is None:
            raise StateError(f"{self!r} is not in the kernel")
        return self._runtime

    def __repr__(self) -> str:
        return f"<OpenedForward {self._spec} in {self._netns._called()}>"


_all: WeakSet[OpenedForward] = WeakSet()


def _owned_marks(runtime: Runtime) -> set[str]:
    """The marks of what this process has opened, or another one that lives: several may say the same."""
    owned = {each._mark for each in list(_all) if each._is_alive()}
    directory = runtime.opener.journals
    if directory:
        from netkit._lifecycle.claims import living_marks

        owned |= living_marks(directory)
    return owned


def _iptables(runtime: Runtime) -> Iptables:
    backend = named(runtime, "iptables")
    assert isinstance(backend, Iptables)
    return backend


def refuse_closed(
    ns: Namespace, versions: Collection[int], what: str, legacy: Mapping[int, list[str]] | None = None
) -> None:
    """StateError that names the chains that drop what DNAT leads on; ``legacy`` is that of `closed_gates`."""
    runtime = ns._live_runtime()
    gates = [each for each in closed_gates(runtime, versions, legacy) if not passes_translated(runtime, each)]
    if gates:
        named_gates = " and ".join([str(gate) for gate in gates])
        raise StateError(
            f"{ns._called()} drops what it is to forward: {named_gates}. Nobody outside would reach {what}: "
            "open_forward=True inserts an accept there for as long as it is published, open_forward=False "
            "leaves that to you"
        )


def forwarding_of(ns: Namespace, specs: Iterable[ForwardSpec]) -> list[ForwardRule | OpenedForward]:
    """What does it: drops stand in a chain of ours, accepts in those of others."""
    return [ForwardRule(ns, spec) if spec.drops else OpenedForward(ns, spec) for spec in specs]


def adopt_or_create(each: ForwardRule | OpenedForward) -> None:
    """Take over what was detached; where it is not there, make it."""
    try:
        each.adopt()
    except NotFoundError:
        each.create()
