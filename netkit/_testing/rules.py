"""The policy rules of a simulated namespace (net/core/fib_rules.c)."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_EXCL, u32
from netkit._testing.messages import Message, Refused, joined, number
from netkit._testing.routes import AF_INET, AF_INET6, network_of

if TYPE_CHECKING:
    from netkit._testing.namespace import FakeNetns

# family, destination's and source's prefix lengths, tos, table, two unused bytes, action, flags
HEADER = Struct("=BBBBBxxBI")

RTM_NEWRULE, RTM_DELRULE = 32, 33
_DST, _PRIORITY, _FWMARK, _TABLE, _FWMASK, _SUPPRESS, _PROTOCOL = 1, 6, 10, 15, 16, 14, 21
_LOOKUP = 1
_GROUPS = {AF_INET: 8, AF_INET6: 19}
_KERNEL = b"\2"


@dataclass
class FakeRule:
    """One rule; ``values`` are the selectors it is reported with."""

    family: int
    dst_len: int
    src_len: int
    action: int
    flags: int
    priority: int
    table: int
    values: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def report(self) -> bytes:
        """The body of RTM_NEWRULE."""
        table = self.table if self.table < 256 else 252
        header = HEADER.pack(self.family, self.dst_len, self.src_len, 0, table, self.action, self.flags)
        parts = {_TABLE: u32(0, self.table)[4:], _SUPPRESS: b"\xff" * 4, **self.values}
        if self.priority:
            parts[_PRIORITY] = u32(0, self.priority)[4:]
        if _FWMARK in parts:
            parts.setdefault(_FWMASK, b"\xff" * 4)
        return header + joined(parts)

    def report_value(self, kind: int) -> bytes | None:
        """A selector's value, with the mask that a mark has by default."""
        if kind == _FWMASK and _FWMARK in self.values:
            return self.values.get(kind, b"\xff" * 4)
        return self.values.get(kind)

    def selectors(self) -> tuple[object, ...]:
        """All but the priority and who made it."""
        chosen = {kind: value for kind, value in self.values.items() if kind != _PROTOCOL}
        if _FWMARK in chosen:
            chosen.setdefault(_FWMASK, b"\xff" * 4)
        return (
            self.family,
            self.dst_len,
            self.src_len,
            self.action,
            self.flags,
            self.table,
            sorted(chosen.items()),
        )


class Rules:
    """The rules of both families, as a new namespace has them."""

    def __init__(self, netns: FakeNetns) -> None:
        self._netns = netns
        own = {_PROTOCOL: _KERNEL}
        tables = [(AF_INET, 0, 255), (AF_INET, 32766, 254), (AF_INET, 32767, 253), (AF_INET6, 0, 255)]
        self.all = [
            FakeRule(family, 0, 0, _LOOKUP, 0, priority, table, dict(own))
            for family, priority, table in [*tables, (AF_INET6, 32766, 254)]
        ]

    def tables_for(self, family: int, address: bytes) -> list[int]:
        """The tables that are looked up for a destination; rules with other selectors are passed by."""
        found: list[int] = []
        for rule in self._sorted(family):
            others = set(rule.values) - {_DST, _PROTOCOL}
            wanted = rule.values.get(_DST)
            fits = wanted is None or network_of(address, rule.dst_len) == wanted
            if rule.action == _LOOKUP and fits and not others:
                found.append(rule.table)
        return found

    def dump(self, message: Message) -> list[bytes]:
        """RTM_GETRULE of a family, or of both."""
        family, *_ = message.fields(HEADER)
        families = (AF_INET, AF_INET6) if not family else (family,)
        return [rule.report() for each in families for rule in self._sorted(each)]

    def add(self, message: Message) -> None:
        """RTM_NEWRULE."""
        rule, given = self._asked(message)
        if not given:
            rule.priority = self._free_priority(rule.family)
        same = [each for each in self.all if each.selectors() == rule.selectors()]
        if message.flags & NLM_F_EXCL and any(each.priority == rule.priority for each in same):
            raise Refused(errno.EEXIST)
        self.all.append(rule)
        self._netns.announce(_GROUPS[rule.family], RTM_NEWRULE, rule.report())

    def delete(self, message: Message) -> None:
        """RTM_DELRULE: the first rule that has what is asked for."""
        wanted, given = self._asked(message)
        for rule in self._sorted(wanted.family):
            if given and rule.priority != wanted.priority:
                continue
            if wanted.table and rule.table != wanted.table:
                continue
            if wanted.action and rule.action != wanted.action:
                continue
            lengths = (rule.dst_len, rule.src_len) == (wanted.dst_len, wanted.src_len)
            if lengths and all(rule.report_value(kind) == value for kind, value in wanted.values.items()):
                self.all.remove(rule)
                self._netns.announce(_GROUPS[rule.family], RTM_DELRULE, rule.report())
                return
        raise Refused(errno.ENOENT)

    def _asked(self, message: Message) -> tuple[FakeRule, bool]:
        family, dst_len, src_len, _, table, action, flags = message.fields(HEADER)
        if family not in _GROUPS:
            raise Refused(errno.EAFNOSUPPORT, "Rule family not supported")
        values = message.attributes(HEADER.size)
        table = number(values.pop(_TABLE)) if _TABLE in values else table
        given = _PRIORITY in values
        priority = number(values.pop(_PRIORITY, b""))
        return FakeRule(family, dst_len, src_len, action, flags, priority, table, values), given

    def _free_priority(self, family: int) -> int:
        """One before the second rule (fib_default_rule_pref)."""
        second = self._sorted(family)[1:2]
        return second[0].priority - 1 if second and second[0].priority else 0

    def _sorted(self, family: int) -> list[FakeRule]:
        return sorted([rule for rule in self.all if rule.family == family], key=lambda rule: rule.priority)
