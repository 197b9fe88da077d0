"""The devices of one simulated namespace (net/core/rtnetlink.c, drivers/net/veth.c, net/bridge)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_CREATE, NLM_F_EXCL
from netkit._testing.device import HEADER, IFF_UP, Device
from netkit._testing.messages import Message, Refused, number, payloads, string

if TYPE_CHECKING:
    from netkit._testing.namespace import FakeNetns

RTM_NEWLINK, RTM_DELLINK = 16, 17
GROUP_LINK = 1

_ADDRESS, _IFNAME, _MTU, _MASTER, _PROTINFO, _TXQLEN, _LINKINFO = 1, 3, 4, 10, 12, 13, 18
_IFALIAS, _GROUP, _NET_NS_FD, _PROP_LIST, _ALT_IFNAME = 20, 27, 28, 52, 53
_KINDS = ("veth", "bridge", "dummy")
_AF_BRIDGE = 7
_LONGEST_NAME = 15


class Links:
    """Create, change, report and delete devices."""

    def __init__(self, netns: FakeNetns) -> None:
        self._netns = netns
        self.by_index: dict[int, Device] = {}
        self._next = 2
        self.by_index[1] = Device(netns, 1, "lo", None)

    # -- finding ------------------------------------------------------------------

    def named(self, name: str) -> Device | None:
        """The device of this name, alternative names too."""
        return next((device for device in self.by_index.values() if name in device.names), None)

    def ports_of(self, bridge: Device) -> list[Device]:
        """The ports of a bridge."""
        return [device for device in self.by_index.values() if device.master is bridge]

    def require(self, index: int) -> Device:
        """The device of this index, or ENODEV."""
        device = self.by_index.get(index)
        if device is None:
            raise Refused(errno.ENODEV)
        return device

    def _asked(self, index: int, values: dict[int, bytes]) -> Device:
        """The device that a request means: by index, else by name."""
        if index:
            return self.require(index)
        given = values.get(_IFNAME) or values.get(_ALT_IFNAME)
        if given is None:
            raise Refused(errno.EINVAL)
        device = self.named(string(given))
        if device is None:
            raise Refused(errno.ENODEV)
        return device

    # -- reading ------------------------------------------------------------------

    def get(self, message: Message) -> bytes:
        """RTM_GETLINK of one device."""
        _, _, index, _, _ = message.fields(HEADER)
        return self._asked(index, message.attributes(HEADER.size)).report()

    def dump(self, message: Message) -> list[bytes]:
        """RTM_GETLINK of all, or of those with a master or of a kind."""
        message.fields(HEADER)
        values = message.attributes(HEADER.size)
        master = number(values[_MASTER]) if _MASTER in values else None
        kind = string(payloads(values[_LINKINFO]).get(1, b"")) if _LINKINFO in values else None
        return [
            device.report()
            for _, device in sorted(self.by_index.items())
            if (master is None or (device.master is not None and device.master.index == master))
            and (kind is None or device.kind == kind)
        ]

    # -- creating -----------------------------------------------------------------

    def new(self, message: Message) -> None:
        """RTM_NEWLINK: create, or change one, or change a group."""
        family, _, index, flags, change = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        if family == _AF_BRIDGE:
            self._set_port(self.require(index), values)
        elif message.flags & NLM_F_CREATE:
            self._create(message, index, flags, values)
        elif not index and _IFNAME not in values and _GROUP in values:
            self._change_group(values)
        else:
            self._change(self._asked(index, values), flags, change, values, bool(index))

    def _create(self, message: Message, index: int, flags: int, values: dict[int, bytes]) -> None:
        info = payloads(values.get(_LINKINFO, b""))
        kind = string(info.get(1, b""))
        name = string(values.get(_IFNAME, b""))
        if index in self.by_index or self.named(name) is not None:
            raise Refused(errno.EEXIST if message.flags & NLM_F_EXCL else errno.EOPNOTSUPP)
        if kind not in _KINDS:
            raise Refused(errno.EOPNOTSUPP, "Unknown device type")
        home = self._namespace_of(values)
        device = Device(home, index or home.links.free_index(), name, kind)
        _check_name(name)
        _apply_first(device, values)
        data = payloads(info.get(2, b""))
        peer = self._peer(device, data) if kind == "veth" else None
        if kind == "bridge":
            device.options.update(data)
        home.links._insert(device)
        if peer is not None:
            peer.netns.links._insert(peer)
        try:
            self._apply_later(device, flags, flags, values)
        except Refused:
            device.netns.links.remove(device)
            raise

    def _peer(self, device: Device, data: dict[int, bytes]) -> Device:
        """The other end, from VETH_INFO_PEER: a header and attributes of its own."""
        payload = data.get(1, bytes(HEADER.size))
        _, _, index, _, _ = HEADER.unpack_from(payload)
        values = payloads(payload, HEADER.size)
        home = self._namespace_of(values, device.netns if device.netns is not self._netns else None)
        name = string(values.get(_IFNAME, b"")) or home.links.free_name("veth")
        if home.links.named(name) is not None or (home is device.netns and name == device.name):
            raise Refused(errno.EEXIST)
        if index in home.links.by_index or (home is device.netns and index == device.index):
            raise Refused(errno.EBUSY)
        _check_name(name)
        peer = Device(home, index or home.links.free_index(), name, "veth")
        _apply_first(peer, values)
        device.peer, peer.peer = peer, device
        return peer

    def _namespace_of(self, values: dict[int, bytes], default: FakeNetns | None = None) -> FakeNetns:
        if _NET_NS_FD not in values:
            return default or self._netns
        return self._netns.find(number(values[_NET_NS_FD]))

    def free_index(self) -> int:
        """An index that no device has."""
        while self._next in self.by_index:
            self._next += 1
        return self._next

    def free_name(self, prefix: str) -> str:
        """A name such as veth0 that no device has."""
        return next(name for n in range(1 << 16) if self.named(name := f"{prefix}{n}") is None)

    def _insert(self, device: Device) -> None:
        self.by_index[device.index] = device
        self._netns.announce(GROUP_LINK, RTM_NEWLINK, device.report())

    # -- changing -----------------------------------------------------------------

    def _change_group(self, values: dict[int, bytes]) -> None:
        group = number(values.pop(_GROUP))
        members = [device for device in self.by_index.values() if device.group == group]
        if not members:
            raise Refused(errno.ENODEV)
        for device in members:
            self._change(device, 0, 0, values, True)

    def _change(
        self, device: Device, flags: int, change: int, values: dict[int, bytes], by_index: bool
    ) -> None:
        if by_index and _IFNAME in values:
            self._rename(device, string(values[_IFNAME]))
        if _NET_NS_FD in values:
            self._move(device, self._netns.find(number(values[_NET_NS_FD])))
        _apply_first(device, values)
        self._apply_later(device, flags, change, values)
        home = device.netns
        home.announce(GROUP_LINK, RTM_NEWLINK, device.report())

    def _rename(self, device: Device, name: str) -> None:
        _check_name(name)
        other = self.named(name)
        if other is not None and (other is not device or name != device.name):
            raise Refused(errno.EEXIST)
        device.name = name

    def _move(self, device: Device, home: FakeNetns) -> None:
        if device.kind is None:
            raise Refused(errno.EINVAL, "The interface netns is immutable")
        if home is device.netns:
            return
        if home.links.named(device.name) is not None:
            raise Refused(errno.EEXIST)
        self._unlink(device)
        device.up = False
        device.netns = home
        device.index = device.index if device.index not in home.links.by_index else home.links.free_index()
        home.links._insert(device)

    def _apply_later(self, device: Device, flags: int, change: int, values: dict[int, bytes]) -> None:
        """The master and IFF_UP, which a device must exist for."""
        if _MASTER in values:
            self._enslave(device, number(values[_MASTER]))
        info = payloads(values.get(_LINKINFO, b""))
        if 5 in info:
            self._set_port(device, {_PROTINFO: info[5]})
        wanted = bool(flags & IFF_UP) if change & IFF_UP else device.up
        if wanted != device.up:
            device.up = wanted
            device.netns.link_changed(device)

    def _enslave(self, device: Device, index: int) -> None:
        if device.master is not None and device.master.index == index:
            return  # do_set_master of net/core/rtnetlink.c
        device.leave_bridge()
        if not index:
            return
        master = device.netns.links.by_index.get(index)
        if master is None:
            raise Refused(errno.EINVAL)
        if master.kind != "bridge":
            raise Refused(errno.EOPNOTSUPP, "Device does not allow enslaving to it")
        if device.kind == "bridge":
            raise Refused(errno.ELOOP, "Can not enslave a bridge to a bridge")
        if device.kind is None:
            raise Refused(errno.EINVAL)
        device.enter_bridge(master)

    def _set_port(self, device: Device, values: dict[int, bytes]) -> None:
        """What `bridge link set` changes."""
        if device.master is None:
            raise Refused(errno.EINVAL)
        device.port.update(payloads(values.get(_PROTINFO, b"")))

    def change_property(self, message: Message, adding: bool) -> None:
        """RTM_NEWLINKPROP and RTM_DELLINKPROP: alternative names."""
        _, _, index, _, _ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        device = self._asked(index, values)
        name = string(payloads(values.get(_PROP_LIST, b"")).get(_ALT_IFNAME, b""))
        if adding:
            if self.named(name) is not None:
                raise Refused(errno.EEXIST)
            device.altnames.append(name)
        elif name not in device.altnames:
            raise Refused(errno.EINVAL if self.named(name) is not None else errno.ENOENT)
        else:
            device.altnames.remove(name)
        self._netns.announce(GROUP_LINK, RTM_NEWLINK, device.report())

    # -- deleting -----------------------------------------------------------------

    def delete(self, message: Message) -> None:
        """RTM_DELLINK: one device, or all of a group."""
        _, _, index, _, _ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        if not index and _IFNAME not in values and _ALT_IFNAME not in values and _GROUP in values:
            group = number(values[_GROUP])
            doomed = [device for device in self.by_index.values() if device.group == group]
            if not doomed:
                raise Refused(errno.ENODEV)
        else:
            doomed = [self._asked(index, values)]
        if any(device.kind is None for device in doomed):
            raise Refused(errno.EOPNOTSUPP)
        for device in doomed:
            self.remove(device)

    def remove(self, device: Device) -> None:
        """Take a device away, with its peer, and release its ports."""
        for port in self.ports_of(device):
            port.leave_bridge()
        if device.index in self.by_index:
            self._unlink(device)
        peer, device.peer = device.peer, None
        if peer is not None:
            peer.peer = None
            peer.netns.links.remove(peer)

    def _unlink(self, device: Device) -> None:
        report = device.report()
        del self.by_index[device.index]
        device.leave_bridge()
        self._netns.link_gone(device.index)
        self._netns.announce(GROUP_LINK, RTM_DELLINK, report)


def _check_name(name: str) -> None:
    if not name or len(name.encode()) > _LONGEST_NAME or name in (".", "..") or set(name) & set("/: \n\t"):
        raise Refused(errno.EINVAL)


def _apply_first(device: Device, values: dict[int, bytes]) -> None:
    """What a device has by itself."""
    if _MTU in values:
        _set_mtu(device, number(values[_MTU]))
    if _ADDRESS in values:
        if len(values[_ADDRESS]) != 6 or values[_ADDRESS][0] & 1:
            raise Refused(errno.EADDRNOTAVAIL, attribute=_ADDRESS)
        device.mac = values[_ADDRESS]
    if _GROUP in values:
        device.group = number(values[_GROUP])
    if _TXQLEN in values:
        device.txqlen = number(values[_TXQLEN])
    if _IFALIAS in values:
        device.alias = values[_IFALIAS].rstrip(b"\0")


def _set_mtu(device: Device, mtu: int) -> None:
    if mtu < 68:
        raise Refused(errno.EINVAL, "mtu less than device minimum", _MTU)
    if mtu > 65535 and device.kind is not None:
        raise Refused(errno.EINVAL, "mtu greater than device maximum", _MTU)
    device.mtu = mtu
