"""What is to be changed in one table: a rule, or chains of our own with what leads into them.

``State`` has the chains that are looked at as they are, and then as they are to be; None is one that is not
there. Runs in the worker only.
"""

from __future__ import annotations

import ctypes
from errno import EEXIST, ENOENT

from netkit._nat.iptables_decode import decode
from netkit._nat.iptables_libraries import load_iptc
from netkit._nat.iptables_rules import rule_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal, TypeAlias

    from netkit._nat.iptables_rules import Rule

    State: TypeAlias = dict[str, list[bytes] | None]


class TableError(Exception):
    """libiptc refused, or would not do what was asked: ``errno`` and a text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.errno = number


class Edit:
    """A change of a table. ``chains`` are those that it looks at."""

    chains: tuple[str, ...]

    def change(self, table: Any, state: State) -> bool:
        """Do it, not committed yet; False if there is nothing to do."""
        raise NotImplementedError

    def inverse(self) -> Edit | None:
        """What takes it back; None if nothing was done."""
        raise NotImplementedError

    def is_lost(self, now: State, expected: State) -> bool:
        """Whether the kernel's table, read again, does not show it."""
        raise NotImplementedError


class RuleEdit(Edit):
    """One rule to add or to take away. ``index`` is 0 for the first, -1 for the last place."""

    def __init__(self, verb: Literal["add", "remove"], chain: str, raw: bytes, index: int) -> None:
        self.verb = verb
        self.chain = chain
        self.chains = (chain,)
        self.raw = raw
        self.index = index
        self.required = False
        self.found: int | None = None  # where a rule that was removed had been

    def change(self, table: Any, state: State) -> bool:
        rules = state[self.chain]
        if self.verb == "add":
            _add(table, self.chain, self.raw, self.index, state)
            return True
        index = None if rules is None else _find(rules, self.raw, self.index)
        if index is None:
            if self.required:
                raise TableError(ENOENT, f"no such rule in {self.chain}")
            return False
        self.found = index
        _delete(table, self.chain, index, state)
        return True

    def inverse(self) -> Edit | None:
        if self.verb == "add":
            return RuleEdit("remove", self.chain, self.raw, self.index)
        return None if self.found is None else RuleEdit("add", self.chain, self.raw, self.found)

    def is_lost(self, now: State, expected: State) -> bool:
        more = (now[self.chain] or []).count(self.raw) - (expected[self.chain] or []).count(self.raw)
        return more < 0 if self.verb == "add" else more > 0


class FreeEdit(Edit):
    """Changes nothing: TableError if a chain has a rule for the same ports as one of these."""

    def __init__(self, chain: str, rules: Iterable[Rule]) -> None:
        self.chains = (chain,)
        self.rules = [*rules]

    def change(self, table: Any, state: State) -> bool:
        (chain,) = self.chains
        family, name = self.rules[0]["family"], self.rules[0]["table"]
        for raw in state[chain] or []:
            other = decode(raw, family, name, chain)
            if other is not None and any(_overlap(rule, other) for rule in self.rules):
                raise TableError(EEXIST, f"there is '{rule_text(other)}'")
        return False

    def inverse(self) -> Edit | None:
        return None

    def is_lost(self, now: State, expected: State) -> bool:
        return False


def _overlap(one: Rule, other: Rule) -> bool:
    """Whether one would take what the other is for."""
    if any(one.get(field) != other.get(field) for field in ("protocol", "dst")):
        return False
    (low, high), (first, last) = _ends(one), _ends(other)
    return low <= last and first <= high


def _ends(rule: Rule) -> tuple[int, int]:
    low, _, high = rule.get("dport", "0").partition(":")
    return int(low), int(high or low)


class ChainsEdit(Edit):
    """Chains of our own, and ``rules`` (chain, rule, index): what leads into them, and what they begin with.

    ``ensure`` makes them all unless the first one is there, ``drop`` removes them with all that they have,
    ``tidy`` drops them if the first one is empty.
    """

    def __init__(
        self,
        verb: Literal["ensure", "drop", "tidy"],
        names: Iterable[str],
        rules: Iterable[tuple[str, bytes, int]],
    ) -> None:
        self.verb = verb
        self.names = tuple(names)
        self.rules = tuple(rules)
        self.chains = tuple(dict.fromkeys([*self.names, *[chain for chain, _, _ in self.rules]]))
        self.before: State | None = None

    def change(self, table: Any, state: State) -> bool:
        first = state[self.names[0]]
        wanted = first is None if self.verb == "ensure" else first is not None
        if not wanted or (self.verb == "tidy" and first):
            return False
        self.before = {chain: None if rules is None else [*rules] for chain, rules in state.items()}
        self._drop(table, state)
        if self.verb == "ensure":
            self._make(table, state)
        return True

    def _drop(self, table: Any, state: State) -> None:
        for chain, raw, which in self.rules:
            rules = state[chain]
            index = None if chain in self.names or rules is None else _find(rules, raw, which)
            if index is not None:
                _delete(table, chain, index, state)
        present = [name for name in self.names if state[name] is not None]
        for name in present:
            table.flush_entries(name)
        for name in present:
            table.delete_chain(name)
            state[name] = None

    def _make(self, table: Any, state: State) -> None:
        for name in self.names:
            table.create_chain(name)
            state[name] = []
        for chain, raw, index in self.rules:
            _add(table, chain, raw, index, state)

    def inverse(self) -> Edit | None:
        if self.before is None:
            return None
        if self.verb == "ensure":
            return ChainsEdit("drop", self.names, self.rules)
        rules = [each for each in self.rules if each[0] not in self.names]
        rules += [(name, raw, -1) for name in self.names for raw in self.before[name] or []]
        return ChainsEdit("ensure", self.names, rules)

    def is_lost(self, now: State, expected: State) -> bool:
        return any((now[name] is None) != (expected[name] is None) for name in self.names) or any(
            now[chain] is not None and (raw in (now[chain] or [])) != (raw in (expected[chain] or []))
            for chain, raw, _ in self.rules
            if chain not in self.names
        )


def _add(table: Any, chain: str, raw: bytes, index: int, state: State) -> None:
    rules = state[chain]
    if rules is None:
        rules = state[chain] = []  # libiptc says what is wrong with it
    place = len(rules) if index < 0 else min(index, len(rules))
    buffer = (ctypes.c_ubyte * len(raw)).from_buffer_copy(raw)
    if place == len(rules):
        table.append_entry(chain, buffer)
    else:
        table.insert_entry(chain, buffer, place)
    rules.insert(place, raw)


def _delete(table: Any, chain: str, index: int, state: State) -> None:
    # Table.delete_entry takes the first that is equal; the last one is ours if we appended.
    if table._iptc.iptc_delete_num_entry(chain.encode(), index, table._handle) != 1:
        raise load_iptc().IPTCError(f"can't delete rule {index + 1} of {chain}: {table.strerror()}")
    rules = state[chain]
    if rules is not None:
        del rules[index]


def _find(rules: list[bytes], raw: bytes, which: int) -> int | None:
    if raw not in rules:
        return None
    if which >= 0:
        return rules.index(raw)
    return len(rules) - 1 - rules[::-1].index(raw)
