"""Neighbours and bridge forwarding entries of a simulated namespace (net/core/neighbour.c, net/bridge)."""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, u32
from netkit._testing.messages import Message, Refused, joined, number

if TYPE_CHECKING:
    from netkit._testing.device import Device
    from netkit._testing.namespace import FakeNetns

HEADER = Struct("=BxxxiHBB")  # family, index, state, flags, type

RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
_DST, _LLADDR, _VLAN, _IFINDEX, _MASTER = 1, 2, 5, 8, 9
_AF_BRIDGE = 7
_SELF, _TO_MASTER = 2, 4
_PERMANENT = 0x80
_GROUP = 3

Key = tuple[int, int, bytes, bytes]


class Neighbours:
    """Entries by family, device, address (a MAC for a bridge's) and VLAN."""

    def __init__(self, netns: FakeNetns) -> None:
        self._netns = netns
        self.all: dict[Key, tuple[int, int, dict[int, bytes]]] = {}

    def dump(self, message: Message) -> list[bytes]:
        """RTM_GETNEIGH of a family, of one device or bridge, or all."""
        family, *_ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        index, master = number(values.get(_IFINDEX, b"")), number(values.get(_MASTER, b""))
        return [
            self.report(key)
            for key in self.all
            if (key[0] == family or (not family and key[0] != _AF_BRIDGE))
            and index in (0, key[1])
            and (not master or master in (key[1], self._master_of(key[1])))
        ]

    def report(self, key: Key) -> bytes:
        """The body of RTM_NEWNEIGH."""
        state, flags, values = self.all[key]
        parts = dict(values)
        master = self._master_of(key[1])
        if key[0] == _AF_BRIDGE and master:
            parts[_MASTER] = u32(0, master)[4:]
        return HEADER.pack(key[0], key[1], state, flags, 1) + joined(parts)

    def add(self, message: Message) -> None:
        """RTM_NEWNEIGH."""
        key, state, flags, values = self._asked(message)
        present = key in self.all
        if present and message.flags & NLM_F_EXCL:
            raise Refused(errno.EEXIST)
        if not present and not message.flags & NLM_F_CREATE:
            raise Refused(errno.ENOENT)
        if present and not message.flags & NLM_F_REPLACE:
            return
        self.all[key] = state, flags & ~(_SELF | _TO_MASTER), values
        self._netns.announce(_GROUP, RTM_NEWNEIGH, self.report(key))

    def delete(self, message: Message) -> None:
        """RTM_DELNEIGH."""
        key, *_ = self._asked(message)
        if key not in self.all:
            raise Refused(errno.ENOENT)
        report = self.report(key)
        del self.all[key]
        self._netns.announce(_GROUP, RTM_DELNEIGH, report)

    def link_gone(self, index: int) -> None:
        """Entries go with their device."""
        for key in [key for key in self.all if key[1] == index]:
            del self.all[key]

    def link_changed(self, device: Device) -> None:
        """A device that goes down loses what is not permanent."""
        if not device.up:
            for key, (state, _, _) in list(self.all.items()):
                if key[1] == device.index and not state & _PERMANENT:
                    del self.all[key]

    def _asked(self, message: Message) -> tuple[Key, int, int, dict[int, bytes]]:
        family, index, state, flags, _ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        if index not in self._netns.links.by_index:
            raise Refused(errno.ENODEV, "Unable to find the interface" if family != _AF_BRIDGE else None)
        if family == _AF_BRIDGE and flags & _TO_MASTER and not self._master_of(index):
            raise Refused(errno.EOPNOTSUPP, "Operation not supported on this device")
        what = values.get(_LLADDR if family == _AF_BRIDGE else _DST, b"")
        if not what:
            raise Refused(errno.EINVAL, "Network address not specified")
        return (family, index, what, values.get(_VLAN, b"")), state, flags, values

    def _master_of(self, index: int) -> int:
        device = self._netns.links.by_index.get(index)
        return device.master.index if device is not None and device.master is not None else 0
