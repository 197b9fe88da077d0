"""What the kernel refuses, as the class of DESIGN.md's tree: with its words, its attribute, its place."""

from __future__ import annotations

import ctypes
import errno
import pickle
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from netkit import (
    AccessError,
    Bridge,
    BusyError,
    ExistsError,
    KernelError,
    Namespace,
    NatRule,
    NetkitError,
    NotFoundError,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    TeardownError,
    UnsupportedError,
    VethPair,
)
from netkit._known import runtime_of
from netkit._netlink.link import new_link, set_link, veth
from netkit._netlink.nft import NFPROTO_INET, delete_table, transaction
from netkit._netlink.socket import NetlinkSocket
from tests.harness import place
from tests.harness.oracle import Events, ip, link, nft, run_in


@pytest.fixture
def named() -> Iterator[Namespace]:
    with Namespace("errors") as ns:
        run_in(ns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        run_in(ns, "ip", "link", "set", "eth0", "up")
        run_in(ns, "ip", "link", "set", "eth1", "up")
        run_in(ns, "ip", "address", "add", "10.0.0.1/24", "dev", "eth0")
        for name in ("br0", "br1"):
            run_in(ns, "ip", "link", "add", name, "type", "bridge")
        with Events(ns) as events:  # what the kernel does of itself is done before a test looks
            events.wait_until(lambda: _is_at_rest(ns))
            events.wait_until_at_rest(ns, links=2)
        yield ns


def _is_at_rest(ns: Namespace) -> bool:
    ends = [item for item in ip(ns, "address", "show") if item["ifname"] in ("eth0", "eth1")]
    local = [each for end in ends for each in end["addr_info"] if each["scope"] == "link"]
    return (
        [end["operstate"] for end in ends] == ["UP", "UP"]
        and len(local) == 2
        and not any("tentative" in each for each in local)
    )


Refusal = tuple[Callable[[Namespace], object], type[KernelError], int, str]

# A call, the class, the errno, and words of the message.
REFUSALS: dict[str, Refusal] = {
    "a name is taken": (
        lambda ns: Bridge(ns, "eth0").create(), ExistsError, errno.EEXIST, "create bridge 'eth0'",
    ),
    "a new name is taken": (
        # br0 is down: before Linux 6.2 one that is up is refused with EBUSY, whatever the name
        lambda ns: ns.links["br0"].rename("br1"), ExistsError, errno.EEXIST,
        "rename link 'br0' to 'br1'",
    ),
    "an address is there": (
        lambda ns: ns.links["eth0"].addresses.add("10.0.0.1/24"), ExistsError, errno.EEXIST,
        "add address 10.0.0.1/24 on link 'eth0'",
    ),
    "a route is there": (
        lambda ns: ns.routes.add("10.0.0.0/24", dev="eth0", scope="link", src="10.0.0.1"),
        ExistsError, errno.EEXIST, "add route 10.0.0.0/24",
    ),
    "no such link": (lambda ns: ns.links["eth9"], NotFoundError, errno.ENODEV, "find link 'eth9'"),
    "no such device of a route": (
        lambda ns: ns.routes.add("10.9.0.0/16", dev="eth9"), NotFoundError, errno.ENODEV, "'eth9'",
    ),
    "no such address": (
        lambda ns: ns.links["eth0"].addresses.remove("10.0.0.9/24"), NotFoundError, errno.EADDRNOTAVAIL,
        "remove address 10.0.0.9/24 from link 'eth0'",
    ),
    "no such route": (
        lambda ns: ns.routes.delete("10.9.0.0/16"), NotFoundError, errno.ESRCH, "delete route 10.9.0.0/16 in",
    ),
    "no such rule": (
        lambda ns: ns.rules.delete(priority=77), NotFoundError, errno.ENOENT, "delete rule '77:",
    ),
    "no such neighbour": (
        lambda ns: ns.neighbours.delete("10.0.0.9", dev="eth0"), NotFoundError, errno.ENOENT, "10.0.0.9",
    ),
    "no such bridge": (lambda ns: Bridge.open(ns, "br9"), NotFoundError, errno.ENODEV, "'br9'"),
    "no way to the gateway": (
        lambda ns: ns.routes.add("10.9.0.0/16", via="192.0.2.1"), KernelError, errno.ENETUNREACH,
        "Nexthop has invalid gateway",
    ),
    "no route": (
        lambda ns: ns.routes.get("192.0.2.1"), KernelError, errno.ENETUNREACH, "192.0.2.1",
    ),
    "a bridge into a bridge": (
        lambda ns: Bridge.open(ns, "br0").add_port(ns.links["br1"]),
        KernelError, errno.ELOOP, "Can not enslave a bridge to a bridge",
    ),
    "lo into a bridge": (
        lambda ns: Bridge.open(ns, "br1").add_port(ns.links["lo"]), KernelError, errno.EINVAL, "'lo'",
    ),
    "an mtu that this device does not take": (
        lambda ns: ns._live_runtime().route.request(set_link(ns.links["eth0"].ifindex, mtu=10)),
        KernelError, errno.EINVAL, "mtu less than device minimum",
    ),
    "an alternative name is taken": (
        lambda ns: ns.links["eth0"].altnames.add("eth1"), ExistsError, errno.EEXIST, "to link 'eth0'",
    ),
    "a neighbour is there already": (
        lambda ns: [ns.neighbours.add("10.0.0.9", mac=MAC, dev="eth0") for _ in range(2)],
        ExistsError, errno.EEXIST, "on link 'eth0'",
    ),
    "a neighbour is not there": (
        lambda ns: ns.neighbours.delete("10.0.0.9", dev="eth0"), NotFoundError, errno.ENOENT,
        "of link 'eth0'",
    ),
    "a forwarding entry of what is no port": (
        lambda ns: Bridge.open(ns, "br0").fdb.delete(MAC, dev="eth0"), UnsupportedError,
        errno.EOPNOTSUPP, "of link 'eth0'",
    ),
    "IPv6 is disabled": (
        lambda ns: _without_ipv6(ns), KernelError, errno.EACCES, "fd00::1/64 on link 'y'",
    ),
    "a kind that nobody knows": (
        lambda ns: ns._live_runtime().route.request(new_link("x", "nonsense")), UnsupportedError,
        errno.EOPNOTSUPP, "Unknown device type",
    ),
    "lo cannot be deleted": (
        lambda ns: ns.links["lo"].delete(), UnsupportedError, errno.EOPNOTSUPP, "delete link 'lo'",
    ),
    "lo cannot be moved": (
        lambda ns: _moved(ns), KernelError, errno.EINVAL, "move link 'lo'",
    ),
}  # fmt: skip


MAC = "02:00:00:00:00:77"


def _without_ipv6(ns: Namespace) -> None:
    ns.sysctl["net.ipv6.conf.default.disable_ipv6"] = 1
    VethPair(ns, ns, name="x", peer_name="y", peer_address="fd00::1/64").create()


def _moved(ns: Namespace) -> None:
    with Namespace() as other:
        ns.links["lo"].move(other)


@pytest.mark.parametrize("case", REFUSALS)
def test_F18_refusals(named: Namespace, case: str) -> None:
    call, kind, number, words = REFUSALS[case]
    before = ip(named, "address", "show"), ip(named, "route", "show"), ip(named, "rule", "show")
    with pytest.raises(KernelError) as caught:
        call(named)
    assert (ip(named, "address", "show"), ip(named, "route", "show"), ip(named, "rule", "show")) == before
    problem = caught.value
    assert type(problem) is kind
    assert problem.errno == number
    assert words in str(problem)
    assert problem.netns == "namespace 'errors'"
    assert "in namespace 'errors'" in str(problem)
    assert errno.errorcode[number] in str(problem)
    assert problem.operation in str(problem)
    assert isinstance(problem, (NetkitError, OSError))


def test_F18_the_offending_attribute_has_its_name(named: Namespace) -> None:
    """NLMSGERR_ATTR_OFFS points at it; the table of attributes gives it its name."""
    request = new_link("a-name-that-is-longer-than-15", "bridge")
    with pytest.raises(KernelError, match=r"IFLA_IFNAME") as caught:
        named._live_runtime().route.request(request)
    assert caught.value.attribute == "IFLA_IFNAME"
    assert caught.value.errno == errno.ERANGE
    assert caught.value.extack


def test_refusals_are_what_python_calls_them_too(named: Namespace) -> None:
    with pytest.raises(FileExistsError):
        Bridge(named, "eth0").create()
    with pytest.raises(KeyError):
        named.links["eth9"]
    with pytest.raises(OSError, match="eth9"):
        named.links["eth9"]


def test_they_travel_between_processes(named: Namespace) -> None:
    with pytest.raises(NotFoundError) as caught:
        named.links["eth9"]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is NotFoundError
    assert str(copy) == str(caught.value)
    assert (copy.operation, copy.errno, copy.netns) == (
        caught.value.operation,
        caught.value.errno,
        caught.value.netns,
    )


# -- busy ------------------------------------------------------------------------------------------


def test_busy(named: Namespace) -> None:
    """What the kernel answers when the index of a peer is taken."""
    request = veth("x", "y", index=5000, peer_index=named.links["eth0"].ifindex)
    with pytest.raises(BusyError) as caught:
        named._live_runtime().route.request(request)
    assert caught.value.errno == errno.EBUSY
    assert "x" not in named.links


# -- no permission ------------------------------------------------------------------------------------


CHANGES: dict[str, Callable[[Namespace, str], object]] = {
    "veth": lambda ns, dev: VethPair(ns, ns, name="a", peer_name="b").create(),
    "bridge": lambda ns, dev: Bridge(ns, "br9").create(),
    "link": lambda ns, dev: ns.links[dev].down(),
    "address": lambda ns, dev: ns.links[dev].addresses.add("10.1.0.1/24"),
    "route": lambda ns, dev: ns.routes.add("10.9.0.0/16", type="blackhole"),
    "rule": lambda ns, dev: ns.rules.add(table=100, priority=5),
    "neighbour": lambda ns, dev: ns.neighbours.add("10.0.0.9", mac="02:00:00:00:00:09", dev=dev),
    "nat": lambda ns, dev: NatRule.masquerade(ns, oif=dev, backend="nftables").create(),
}


def without_capabilities(function: Callable[[], object]) -> BaseException | None:
    """What a function raises on a thread that has no capability in effect (they are per thread)."""
    raised: list[BaseException] = []

    def run() -> None:
        header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
        nothing = bytes(24)  # effective, permitted, inheritable, twice 32 bits each
        assert ctypes.CDLL(None).capset(header, nothing) == 0
        try:
            function()
        except BaseException as problem:
            raised.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("change", CHANGES)
def test_F27_no_permission_names_the_capability(named: Namespace, change: str) -> None:
    """Without root there is a namespace where it is always missing: the one that this process is in."""
    ns, dev = (Namespace.current(), "lo") if place.ROOTLESS else (named, "eth0")
    where = "in the current namespace" if place.ROOTLESS else "in namespace 'errors'"
    with ExitStack() as stack:
        if place.ROOTLESS:
            stack.enter_context(ns)
        else:
            stack.enter_context(NatRule.masquerade(named, oif="eth1"))  # opens the netfilter socket
        before = everything(ns)
        problem = without_capabilities(lambda: CHANGES[change](ns, dev))
        assert type(problem) is AccessError
        assert problem.errno == errno.EPERM
        assert isinstance(problem, PermissionError)
        assert "CAP_NET_ADMIN" in str(problem)
        assert "netkit unshare -- PROGRAM" in str(problem)
        assert where in str(problem)
        assert everything(ns) == before


def everything(ns: Namespace) -> list[object]:
    said: list[object] = [run_in(ns, "ip", "link"), run_in(ns, "ip", "route", "show", "table", "all")]
    return said if place.ROOTLESS else [*said, nft(ns)]  # an ordinary user may not read those


def test_reading_needs_no_capability(named: Namespace) -> None:
    def read() -> None:
        assert named.links["eth0"].mtu == 1500
        assert "10.0.0.1/24" in named.links["eth0"].addresses
        assert "10.0.0.0/24" in named.routes
        assert len(named.rules) >= 5

    assert without_capabilities(read) is None


def test_not_a_capability_is_no_access_error(named: Namespace) -> None:
    """EPERM of a foreign owner's table: no capability would help."""
    with NatRule.masquerade(named, oif="eth0"):
        (table,) = [item["table"]["name"] for item in nft(named) if "table" in item]
        with named.socket(16, 3, 12) as raw:
            stranger = NetlinkSocket(raw, "namespace 'errors'", lambda: None)
            with pytest.raises(KernelError) as caught:
                stranger.transact(transaction([delete_table(NFPROTO_INET, table)]))
            assert type(caught.value) is KernelError
            assert not isinstance(caught.value, AccessError)
            assert caught.value.errno == errno.EPERM


# -- what a failing call had made is undone ------------------------------------------------------------


def test_a_failing_body_and_a_failing_teardown(named: Namespace) -> None:
    """The body's exception goes on, with a note of what is left."""
    stubborn = Bridge(named, "br9")
    stubborn._remove = _refuse  # type: ignore[method-assign]

    def body() -> None:
        with Scope() as lab:
            lab.own(stubborn)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        body()
    notes = "\n".join(caught.value.__notes__)
    assert "br9" in notes
    assert "will not go" in notes
    del stubborn._remove
    stubborn.delete()


def test_a_failing_teardown(named: Namespace) -> None:
    stubborn = Bridge(named, "br9")
    stubborn._remove = _refuse  # type: ignore[method-assign]

    def body() -> None:
        with Scope() as lab:
            lab.own(stubborn)
            lab.own(Bridge(named, "br2"))

    with pytest.raises(TeardownError) as caught:
        body()
    (problem,) = caught.value.exceptions
    assert "will not go" in str(problem)
    assert any("br9" in note for note in problem.__notes__)
    assert "br2" not in [each["ifname"] for each in ip(named, "link", "show")]  # the rest went on
    del stubborn._remove
    stubborn.delete()


def _refuse(teardown: object) -> None:
    raise KernelError("remove it", errno.EIO, extack="will not go")


def test_an_error_in_the_middle_of_a_scope_undoes_what_came_before(named: Namespace) -> None:
    before = [each["ifname"] for each in ip(named, "link", "show")]

    def body() -> None:
        with Scope() as lab:
            lab.own(Bridge(named, "br9", address="10.1.0.1/24"))
            lab.own(RouteTable(named, 100)).add("10.9.0.0/16", type="blackhole")
            lab.own(VethPair(named, named, name="eth0", peer_name="x"))

    with pytest.raises(ExistsError, match="'eth0'"):
        body()
    assert [each["ifname"] for each in ip(named, "link", "show")] == before
    assert ip(named, "route", "show", "table", "100") == []


def test_nothing_changes_when_a_spec_is_bad(named: Namespace) -> None:
    before: Any = link(named, "eth0")
    for call in (
        lambda: named.links["eth0"].set(mtu=1400, mac="nonsense"),
        lambda: named.links["eth0"].rename("a" * 16),
        lambda: Bridge(named, "eth0", address="10.0.0.1"),
    ):
        with pytest.raises(SpecError):
            call()
    assert link(named, "eth0") == before


def test_a_gone_namespace(named: Namespace) -> None:
    ns = Namespace().create()
    ns.delete()
    with pytest.raises(StateError, match="deleted"):
        ns.links["lo"]


def test_a_link_deleted_while_its_carrier_is_asked_for(host: Namespace) -> None:
    """By somebody else, between its creation and the look: an error of ours, not the ioctl's bare one."""
    runtime = runtime_of(host)
    with pytest.raises(NotFoundError, match="carrier of link 'gone'"):
        runtime.sync_carrier("gone")
