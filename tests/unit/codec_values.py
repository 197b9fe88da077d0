"""What hypothesis makes up for the codec's tests, as the kernel could report it; and what is asked."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import strategies as st

from netkit._netlink.link import LINK_POLICY
from netkit._netlink.policy import decode
from netkit._netlink.socket import Reply
from netkit._netlink.wire import Request
from netkit._spec.address import Address
from netkit._spec.neighbours import Neighbour
from netkit._spec.routes import NextHop, Route
from netkit._spec.rules import Rule

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

U32 = 2**32 - 1
INDEXES = {"lo": 1, "eth0": 2, "br0": 7, "veth-of-fifteen": 2**31 - 1}
NAMES = {index: name for name, index in INDEXES.items()}

devices = st.sampled_from(sorted(INDEXES))
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
names = st.text("abcxyzäß0123456789.-_", min_size=1, max_size=7)
versions = st.sampled_from((4, 6))
numbers = st.none() | st.integers(0, U32)
switches = st.none() | st.booleans()


def reply(request: Request) -> Reply:
    """What was asked, as if the kernel said it: what makes an object and what reports it are alike."""
    return request.kind, memoryview(request.body), 0, len(request.body)


def hosts(version: int) -> st.SearchStrategy[IPAddress]:
    """Addresses that a host can have."""
    return st.ip_addresses(v=version).filter(lambda a: not a.is_unspecified and not a.is_multicast)


def networks(version: int) -> st.SearchStrategy[IPNetwork]:
    """Networks, the whole of the family left out."""

    def network(address: IPAddress, prefixlen: int) -> IPNetwork:
        return ipaddress.ip_network((address, prefixlen), strict=False)

    return st.builds(network, st.ip_addresses(v=version), st.integers(1, 32 if version == 4 else 128))


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """Addresses of both families."""
    version = draw(versions)
    return Address(draw(hosts(version)).packed, draw(st.integers(0, 32 if version == 4 else 128)))


@st.composite
def next_hops(draw: st.DrawFn, version: int) -> NextHop:
    """Next hops with a device, as the kernel reports them."""
    via = draw(st.none() | hosts(version))
    return NextHop(via, draw(devices), draw(st.integers(1, 256)))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """Routes as the kernel reports them: unicast ones have a device."""
    version = draw(versions)
    kind = draw(st.sampled_from(("unicast", "unicast", "unicast", "blackhole", "unreachable", "prohibit")))
    multipath = kind == "unicast" and draw(st.booleans())
    single = kind == "unicast" and not multipath
    # A gateway of the other family: RFC 5549, for IPv4 only.
    gateways = st.none() | hosts(version) | (hosts(6) if version == 4 else st.nothing())
    return Route(
        draw(st.just("default") | networks(version)),
        version,
        via=draw(gateways) if single else None,
        dev=draw(devices) if single else None,
        src=draw(st.none() | hosts(version)),
        metric=draw(st.none() | st.integers(0, U32)),
        scope=draw(st.sampled_from(("global", "site", "link", "host", "nowhere", "17"))),
        proto=draw(st.sampled_from(("netkit", "boot", "static", "kernel", "77"))),
        mtu=draw(st.none() | st.integers(68, 65535)),
        onlink=single and draw(st.booleans()),
        type=kind,
        table=draw(st.integers(1, 260) | st.integers(1, U32)),
        nexthops=tuple(draw(st.lists(next_hops(version), min_size=1, max_size=5))) if multipath else (),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Rules as the kernel reports them: with a priority, a mark always with its mask."""
    version = draw(versions)
    action = draw(st.sampled_from(("lookup", "blackhole", "unreachable", "prohibit")))
    mark = draw(st.none() | st.integers(0, U32))
    return Rule(
        version,
        src=draw(st.none() | networks(version)),
        dst=draw(st.none() | networks(version)),
        iif=draw(st.none() | devices),
        oif=draw(st.none() | devices),
        fwmark=mark,
        fwmask=None if mark is None else draw(st.integers(0, U32)),
        priority=draw(st.integers(0, U32)),
        table=draw(st.integers(1, U32)) if action == "lookup" else 0,
        action=action,
        invert=draw(st.booleans()),
    )


@st.composite
def neighbours(draw: st.DrawFn) -> Neighbour:
    """Entries of the neighbour table."""
    address = draw(hosts(draw(versions)))
    state = draw(st.sampled_from(("permanent", "reachable", "stale", "failed", "noarp")))
    return Neighbour(address, draw(st.none() | macs), draw(devices), state)


def header(request: Request) -> tuple[int, int, int]:
    """Index, flags and the flags' mask of a request; family and type are always zero."""
    family, kind, index, flags, change = struct.unpack_from("=BxHiII", request.body)
    assert (family, kind) == (0, 0), "strict checking refuses anything else"
    return index, flags, change


def said(request: Request) -> dict[str, object]:
    """The attributes of a request about a link."""
    assert request.policy is LINK_POLICY
    return decode(LINK_POLICY, request.body, request.header_size, len(request.body))


def given_only(**values: object) -> dict[str, object]:
    """Without what is None, which is not sent."""
    return {name: value for name, value in values.items() if value is not None}
