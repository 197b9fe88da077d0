"""Snapshot: all that a namespace is configured with, as one frozen value.

The kernel has no snapshot over several tables. So events are listened to while the tables are
read, and they are read again if one came; `Snapshot.consistent` says whether that ended well.
"""

from __future__ import annotations

import errno
from _socket import MSG_DONTWAIT, MSG_TRUNC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from struct import error as struct_error
from typing import TYPE_CHECKING

from netkit._nat.reading import own_rules
from netkit._netlink.neighbour import NDMSG
from netkit._netlink.transport import NETLINK_ROUTE, subscribe
from netkit._netlink.wire import messages
from netkit._shown import Drawn
from netkit._snapshot_answers import Answers
from netkit._snapshot_nat import NatState, read_nat
from netkit._snapshot_values import InterfaceAddress, LinkState
from netkit._spec import numbers
from netkit._spec.neighbours import STATES, Neighbour
from netkit._spec.routes import Route
from netkit._spec.rules import Rule
from netkit.errors import AccessError, ProtocolError

if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._nat.reading import Own
    from netkit._netlink.transport import Transport
    from netkit._runtime import Runtime

__all__ = ["InterfaceAddress", "LinkState", "NatState", "Snapshot", "take_snapshot", "take_snapshots"]

# RTNLGRP_... of linux/rtnetlink.h: link, neigh, ipv4 ifaddr, route, rule, ipv6 ifaddr, route, rule.
_GROUPS = (1, 3, 5, 7, 8, 9, 11, 19)
_READ_TRIES = 8
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_EVENT_SIZE = 32 * 1024


@dataclass(frozen=True, eq=False)
class Snapshot(Drawn):
    """What a namespace was configured with at one moment, frozen; made by ``ns.snapshot()``.

    Two are equal when the configuration is: indexes and counters do not count, nor do neighbours
    that the kernel learnt by itself and that come and go. ``nat`` has netkit's own rules and those
    of nftables; other programs' rules in legacy iptables are not seen. ``consistent`` is False when
    things changed during each of several reads: then the parts may be of different moments.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     before = box.snapshot()
        ...     _ = box.links["lo"].addresses.add("10.0.0.1/32")
        ...     print("\\n".join(before.diff(box.snapshot())))
        + address   lo               10.0.0.1/32 scope global
        + route     local 10.0.0.1/32 dev lo table local proto kernel scope host src 10.0.0.1
    """

    links: tuple[LinkState, ...]
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]
    neighbours: tuple[Neighbour, ...]
    nat: tuple[NatState, ...]
    consistent: bool = True

    @classmethod
    def _of(cls, answers: Answers, nat: tuple[NatState, ...], consistent: bool) -> Snapshot:
        """From what the kernel said, which is decoded part by part."""
        snapshot = object.__new__(cls)
        vars(snapshot).update(_answers=answers, nat=nat, consistent=consistent)
        return snapshot

    if not TYPE_CHECKING:  # to a type checker it would mean that any attribute exists

        def __getattr__(self, name: str) -> object:
            held = vars(self)
            answers = held.get("_answers")
            if answers is not None and name in _DECODED:
                held[name] = getattr(answers, name)()
                if all(part in held for part in _DECODED):
                    held.pop("_answers", None)
            if name not in held:  # another thread may have been quicker
                raise AttributeError(f"'Snapshot' object has no attribute {name!r}")
            return held[name]

    def __reduce__(self) -> tuple[object, ...]:
        return Snapshot, tuple([getattr(self, each.name) for each in fields(self)])

    def link(self, name: str) -> LinkState | None:
        """The link of this name, or None. Twin: ``ip -d link show dev NAME``."""
        return next((link for link in self.links if link.name == name), None)

    def diff(self, other: Snapshot) -> list[str]:
        """A line for each thing that only one of the two has: ``-`` here, ``+`` there.

        A thing that changed has both. Empty for equal snapshots.

        Twin: ``diff`` of what `ip` and `nft` said.
        """
        lines: list[str] = []
        for name in _PARTS:
            before, after = _compared(self, name), _compared(other, name)
            gone = [each for each in before if each not in after]
            come = [each for each in after if each not in before]
            lines += [f"- {_SINGULAR[name]:<9} {_shown(each)}" for each in gone]
            lines += [f"+ {_SINGULAR[name]:<9} {_shown(each)}" for each in come]
        return lines

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return all(_compared(self, name) == _compared(other, name) for name in _PARTS)

    def __hash__(self) -> int:
        return hash(tuple([_compared(self, name) for name in _PARTS]))

    def __str__(self) -> str:
        parts: list[str] = []
        for name in _PARTS:
            values: Sequence[object] = getattr(self, name)
            if values:
                parts += [f"{name}:", *[f"  {_brief(value)}" for value in values]]
        return "\n".join(parts if self.consistent else ["(read while it changed)", *parts])


_PARTS = tuple(each.name for each in fields(Snapshot) if each.name != "consistent")
_DECODED = tuple(name for name in _PARTS if name != "nat")
_SINGULAR = {"links": "link", "addresses": "address", "routes": "route", "rules": "rule",
             "neighbours": "neighbour", "nat": "nat"}  # fmt: skip


def _compared(snapshot: Snapshot, part: str) -> tuple[object, ...]:
    if part == "neighbours":
        return tuple([each for each in snapshot.neighbours if each.state == "permanent"])
    found: tuple[object, ...] = getattr(snapshot, part)
    return found


def _brief(value: object) -> str:
    """A line; the text of a rule does not say its family."""
    return f"-6 {value}" if isinstance(value, Rule) and value.family == 6 else str(value)


def _shown(value: object) -> str:
    """A line; for a link with all that counts."""
    if not isinstance(value, LinkState):
        return _brief(value)
    more = [f"group {value.group}" if value.group else "", f"qlen {value.txqlen}"]
    for options in (value.bridge, value.port):
        more += [] if options is None else [f"{name}={getattr(options, name)}" for name in options._compared]
    return " ".join([str(value), *[word for word in more if word]])


# -- taking one ----------------------------------------------------------------------


def take_snapshots(namespaces: Mapping[str, Namespace]) -> dict[str, Snapshot]:
    """The snapshots of many. What `Network.snapshot` does."""
    rules = own_rules()
    return {name: _take(netns, rules) for name, netns in namespaces.items()}


def take_snapshot(netns: Namespace, nat: bool) -> Snapshot:
    """Read everything, again if it changed meanwhile. What `Namespace.snapshot` does."""
    return _take(netns, own_rules() if numbers.boolean(nat, "nat") else None)


def _take(netns: Namespace, rules: Mapping[Runtime, Sequence[Own]] | None) -> Snapshot:
    """``rules`` are this process's own; None: none are read."""
    runtime = netns._live_runtime()
    own = () if rules is None else rules.get(runtime, ())
    monitor = runtime.opener.open_netlink(runtime.check(), NETLINK_ROUTE)
    try:
        subscribe(monitor, _GROUPS)
        tries = 0
        while True:
            answers = Answers.read(runtime.route)
            nat = () if rules is None else _read_nat(runtime, own)
            changed, tries = _changed(monitor), tries + 1
            if not changed or tries > _READ_TRIES:
                return Snapshot._of(answers, nat, consistent=not changed)
    finally:
        monitor.close()


def _read_nat(runtime: Runtime, own: Sequence[Own]) -> tuple[NatState, ...]:
    try:
        return read_nat(runtime, own)
    except AccessError as refusal:
        raise refusal._hinted(f"snapshot(nat=False) reads all the rest. {refusal.hint}") from None


def _changed(monitor: Transport) -> bool:
    """Whether events came since the last look; reads them all away."""
    changed = False
    buffer = bytearray(_EVENT_SIZE)
    while True:
        try:
            size, _ = monitor.recvfrom_into(buffer, 0, MSG_DONTWAIT | MSG_TRUNC)
        except BlockingIOError:
            return changed
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:
                raise
            changed = True  # some were lost, and with them what they said
            continue
        cut = size > len(buffer)
        changed = cut or _counts(memoryview(buffer)[:size]) or changed


def _counts(datagram: memoryview) -> bool:
    """Whether an event is of a change that somebody made. The states of learnt neighbours change by
    themselves all the time, and the snapshot does not compare them."""
    try:
        for kind, _, _, start, end in messages(datagram):
            if kind not in (_RTM_NEWNEIGH, _RTM_DELNEIGH):
                return True
            _, _, state, _, _ = NDMSG.unpack_from(datagram[start:end])
            if state & STATES["permanent"]:
                return True
    except (struct_error, ProtocolError):
        return True
    return False
