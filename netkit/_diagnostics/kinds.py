"""The link kinds that are tried. Sources: include/uapi/linux/if_link.h, drivers/net/Kconfig."""

from __future__ import annotations

import struct
from fcntl import ioctl

from netkit._bridge import Bridge
from netkit._diagnostics.feature import Feature
from netkit._known import runtime_of
from netkit._link import link_by_name
from netkit._netlink.link import new_link
from netkit._netlink.wire import attribute, u16, u32
from netkit._veth import VethPair
from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace

# What vlan, macvlan and ipvlan are put upon: macvlan and ipvlan exclude each other (EBUSY).
LOWER, FAR = "lower", "far"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


def _veth(netns: Namespace) -> None:
    VethPair(netns, netns, name=LOWER, peer_name=FAR).create()


def _bridge(netns: Namespace) -> None:
    Bridge(netns, "bridge").create()


def _vlan_filtering(netns: Namespace) -> None:
    Bridge(netns, "filtering", vlan_filtering=True).create()


def _tap(netns: Namespace) -> None:
    netns.call(_open_tap)


def _open_tap() -> None:
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"tap", _IFF_TAP | _IFF_NO_PI))


class _Kind:
    """Makes a link of a kind; the namespace's end takes it away."""

    def __init__(self, kind: str, data: bytes | None = None, upon: str = "") -> None:
        self._kind = kind
        self._data = data
        self._upon = upon

    def __call__(self, netns: Namespace) -> None:
        link = _index(netns, self._upon) if self._upon else None
        runtime_of(netns).route.request(new_link(f"a-{self._kind}", self._kind, self._data, link=link))


def _index(netns: Namespace, name: str) -> int:
    try:
        return link_by_name(netns, name).ifindex
    except NotFoundError:
        return link_by_name(netns, "lo").ifindex  # without veth; some kinds refuse it


def _kind(
    kind: str,
    option: str,
    lost: str,
    data: bytes | None = None,
    *,
    upon: str = "",
    module: str | None = None,
    makes: str = "",
) -> Feature:
    return Feature(kind, _Kind(kind, data, upon), option, module or kind, lost, makes)


KINDS = [
    Feature("veth", _veth, "CONFIG_VETH", "veth", "VethPair, connect(): nothing joins two namespaces"),
    Feature("bridge", _bridge, "CONFIG_BRIDGE", "bridge", "Bridge"),
    Feature(
        "bridge vlan_filtering",
        _vlan_filtering,
        "CONFIG_BRIDGE_VLAN_FILTERING",
        "bridge",
        "Bridge(vlan_filtering=True): VLANs that keep ports apart",
    ),
    _kind("vxlan", "CONFIG_VXLAN", "vxlan links: bridges over a routed network", u32(1, 42)),
    _kind("macvlan", "CONFIG_MACVLAN", "macvlan links: several MACs on one device", upon=LOWER),
    _kind("ipvlan", "CONFIG_IPVLAN", "ipvlan links: several addresses on one MAC", upon=FAR),
    _kind(
        "vlan",
        "CONFIG_VLAN_8021Q",
        "vlan links (802.1Q)",
        u16(1, 42),
        upon=LOWER,
        module="8021q",
        makes="VLAN 0 on every network card",
    ),
    _kind("dummy", "CONFIG_DUMMY", "dummy links: devices that swallow packets", makes="dummy0"),
    _kind("bond", "CONFIG_BONDING", "bond links", module="bonding", makes="bond0"),
    _kind("ifb", "CONFIG_IFB", "ifb links: shaping of what comes in", makes="ifb0 and ifb1"),
    _kind("wireguard", "CONFIG_WIREGUARD", "wireguard links: encrypted tunnels"),
    _kind("vrf", "CONFIG_NET_VRF", "vrf links: a routing table per device", u32(1, 42)),
    _kind(
        "geneve",
        "CONFIG_GENEVE",
        "geneve links: tunnels",
        u32(1, 42) + attribute(2, bytes([192, 0, 2, 1])),
    ),
    _kind(
        "gretap",
        "CONFIG_NET_IPGRE",
        "gre links: tunnels",
        attribute(6, bytes([192, 0, 2, 2])) + attribute(7, bytes([192, 0, 2, 1])),
        module="ip_gre",
        makes="gre0, gretap0 and erspan0",
    ),
    Feature(
        "tun/tap",
        _tap,
        "CONFIG_TUN",
        "tun",
        "tun and tap links: a program as the other end; ns.connect_outside()",
    ),
]
