"""Scope: owned, undone in reverse, names free at once, and what happens when something can't be removed."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Link,
    Namespace,
    NatRule,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    TeardownError,
    VethPair,
)
from netkit._lifecycle import ROOT
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.wire import Request
from netkit.errors import kernel_error
from tests.harness import place
from tests.harness.oracle import Events, ip, link, nft, run_in

RTM_DELLINK = 17


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace("box") as ns:
        yield ns


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def veth(host: Namespace, box: Namespace, number: int = 0) -> VethPair:
    return VethPair(host, box, name=f"v{number}", peer_name=f"p{number}")


class Sends(list[list[Request]]):
    """The requests of each send of a netlink socket, in order."""

    def of_kind(self, kind: int) -> list[list[Request]]:
        return [send for send in self if any(request.kind == kind for request in send)]


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Sends:
    seen = Sends()
    real = NetlinkSocket._exchange

    def spy(self: NetlinkSocket, requests: Sequence[Request], *rest: Any, **more: Any) -> Any:
        seen.append(list(requests))
        return real(self, requests, *rest, **more)

    monkeypatch.setattr(NetlinkSocket, "_exchange", spy)
    return seen


# -- owning ------------------------------------------------------------------------


def test_own_creates_and_returns_it(host: Namespace, box: Namespace) -> None:
    with Scope() as scope:
        pair = veth(host, box)
        assert scope.own(pair) is pair
        assert pair.exists
        assert "v0" in names(host)
    assert not pair.exists
    assert names(host) == ["lo"]


def test_everything_of_a_scope_goes(host: Namespace) -> None:
    before = run_in(host, "ip", "route"), nft(host), run_in(host, "sysctl", "net.ipv4")
    with Scope() as lab:
        box = lab.own(Namespace("inner"))
        bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
        bridge.connect(box, name="veth0", peer_name="eth0", peer_address="172.18.0.2/24", default_route=True)
        lab.own(host.sysctl.override("net.ipv4.conf.all.forwarding", 1))
        lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="veth9"))
        table = lab.own(RouteTable(host, 100))
        table.add("10.9.0.0/16", via="172.18.0.2")
        assert box.ping("172.18.0.1").loss == 0
        assert ip(host, "route", "show", "table", "100")
    assert names(host) == ["lo"]
    assert (run_in(host, "ip", "route"), nft(host), run_in(host, "sysctl", "net.ipv4")) == before
    assert ip(host, "route", "show", "table", "100") == []
    assert place.names() == []


def test_owning_twice_is_nothing(host: Namespace, box: Namespace) -> None:
    with Scope() as scope:
        pair = scope.own(veth(host, box))
        index = pair.link.ifindex
        assert scope.own(pair) is pair
        assert pair.link.ifindex == index
        assert link(host, "v0")["ifindex"] == index


def test_it_takes_over_what_was_created(host: Namespace, box: Namespace) -> None:
    pair = veth(host, box).create()
    with Scope() as scope:
        scope.own(pair)
        assert pair.exists
    assert names(host) == ["lo"]
    with pytest.raises(StateError):
        pair.delete()


def test_ownership_moves(host: Namespace, box: Namespace) -> None:
    """From a bridge, from a namespace, from another scope: who has it last undoes it."""
    with Scope() as outer:
        with Scope() as inner, Bridge(host, "br0") as bridge:
            from_bridge = outer.own(bridge.connect(box, name="a0", peer_name="b0"))
            from_ns = outer.own(host.connect(box, name="a1", peer_name="b1"))
            from_scope = outer.own(inner.own(VethPair(host, box, name="a2", peer_name="b2")))
        assert names(host) == ["a0", "a1", "a2", "lo"]
        assert "master" not in link(host, "a0")
        assert from_bridge.exists
        assert from_ns.exists
        assert from_scope.exists
    assert names(host) == ["lo"]


def test_deleted_or_detached_in_the_block_is_no_longer_owned(host: Namespace, box: Namespace) -> None:
    with Scope() as scope:
        deleted, kept, left = (scope.own(veth(host, box, number)) for number in range(3))
        deleted.delete()
        left.detach()
        assert kept.exists
    assert names(host) == ["lo", "v2"]
    left.adopt().delete()
    assert names(host) == ["lo"]


def test_deleted_and_created_again_belongs_to_nobodys_block(host: Namespace, box: Namespace) -> None:
    with Scope() as scope:
        pair = scope.own(veth(host, box))
        pair.delete()
        pair.create()
    assert pair.exists
    pair.delete()


def test_a_scope_owns_resources_only(host: Namespace) -> None:
    with Scope() as scope:
        for value in (None, 3, "br0", host.links["lo"], Scope(), [Namespace()], Namespace):
            with pytest.raises(SpecError, match="owns"):
                scope.own(value)  # type: ignore[type-var]
        with pytest.raises(StateError, match="borrowed"):
            scope.own(Namespace.current())
        with Namespace.from_fd(host.fileno()) as borrowed, pytest.raises(StateError, match="borrowed"):
            scope.own(borrowed)
        run_in(host, "ip", "link", "add", "br9", "type", "bridge")
        with pytest.raises(StateError, match="borrowed"):
            scope.own(Bridge.open(host, "br9"))
    assert names(host) == ["br9", "lo"]


def test_before_and_after_the_block(host: Namespace) -> None:
    scope = Scope()
    with pytest.raises(StateError, match="not entered"):
        scope.own(Namespace())
    with scope, pytest.raises(StateError, match="already"):
        scope.__enter__()
    ns = Namespace("late")
    with pytest.raises(StateError, match="closed"):
        scope.own(ns)
    assert not ns.exists
    assert place.names() == []
    with scope as again:  # a block of its own
        again.own(ns)
    assert not ns.exists


def test_what_fails_to_be_created_is_not_owned(host: Namespace, box: Namespace) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "x0")
    with Scope() as scope:
        pair = veth(host, box)
        with pytest.raises(ExistsError):
            scope.own(pair)
        assert not pair.exists
        run_in(host, "ip", "link", "delete", "v0")
        scope.own(pair)
    assert names(host) == ["lo"]


def test_scopes_nest(host: Namespace, box: Namespace) -> None:
    with Scope() as outer:
        outer.own(veth(host, box, 0))
        with Scope() as inner:
            inner.own(veth(host, box, 1))
        assert names(host) == ["lo", "v0"]
    assert names(host) == ["lo"]


def test_it_says_what_it_is(host: Namespace) -> None:
    with Scope() as scope:
        scope.own(Namespace())
        assert repr(scope) == "<Scope open with 1 resource>"


# -- undone ------------------------------------------------------------------------


def test_reverse_order(host: Namespace, box: Namespace, sends: Sends) -> None:
    """Routes before links, links before namespaces, the last first."""
    with Scope() as scope:
        scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
        table = scope.own(RouteTable(host, 100))
        for number in (1, 2, 3):
            table.add(f"10.{number}.0.0/16", via="10.0.0.2")
        scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        sends.clear()
    removals = [request for send in sends for request in send if request.deleting]
    assert [request.kind for request in removals] == [25, 25, 25, RTM_DELLINK]  # RTM_DELROUTE
    assert ["10.3." in r.operation for r in removals] == [True, False, False, False]
    assert "10.1." in removals[2].operation


def test_F35_names_are_free_at_once_fifty_times(host: Namespace) -> None:
    """F35: `ip netns del` lets the host's end linger for 2 to 54 ms."""
    for _ in range(50):
        with Scope() as scope:
            box = scope.own(Namespace("box2"))
            scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
            scope.own(Bridge(host, "br0"))
        assert names(host) == ["lo"]
    for _ in range(50):
        with Namespace("box2") as box, VethPair(host, box, name="v0", peer_name="eth0"):
            pass
    assert names(host) == ["lo"]


@pytest.mark.parametrize("kept_by", ["the other namespace", "nobody", "a scope"])
def test_a_name_is_free_when_the_namespace_of_the_far_end_is_gone(host: Namespace, kept_by: str) -> None:
    # The kernel takes the near end along, but later: the next pair of this name came too soon.
    with Scope() as outer:
        for _ in range(10):
            with Namespace() as box:
                if kept_by == "the other namespace":
                    veth = host.connect(box, name="v0", peer_name="eth0")
                else:
                    veth = VethPair(host, box, name="v0", peer_name="eth0").create()
                if kept_by == "a scope":
                    outer.own(veth)
            assert [each.name for each in host.links] == ["lo"]
            assert not veth.exists
            assert veth not in ROOT._held_members()  # it ended with its namespace: nobody keeps it for long
    veth.delete()  # finds nothing, and succeeds


@pytest.mark.parametrize("count", [2, 40])
def test_links_of_one_scope_go_in_one_message(
    host: Namespace, box: Namespace, sends: Sends, count: int
) -> None:
    with Scope() as scope:
        for number in range(count):
            scope.own(veth(host, box, number))
        scope.own(Bridge(host, "br0"))
        groups = {item["group"] for item in ip(host, "link", "show") if item["ifname"] != "lo"}
        assert groups == {str(scope.group)}
        sends.clear()
    assert names(host) == names(box) == ["lo"]
    deletes = sends.of_kind(RTM_DELLINK)
    assert [len(send) for send in deletes] == [1]


def test_in_each_namespace_one_message(host: Namespace, box: Namespace, sends: Sends) -> None:
    with Scope() as scope:
        for number in range(5):
            scope.own(VethPair(host, host, name=f"a{number}", peer_name=f"b{number}"))
            scope.own(VethPair(box, box, name=f"a{number}", peer_name=f"b{number}"))
        sends.clear()
    assert names(host) == names(box) == ["lo"]
    assert [len(send) for send in sends.of_kind(RTM_DELLINK)] == [1, 1]


@pytest.mark.parametrize("stranger", ["veth", "lo"])
def test_a_stranger_in_the_group_is_not_deleted(
    host: Namespace, box: Namespace, sends: Sends, stranger: str
) -> None:
    with Scope() as scope:
        for number in range(3):
            scope.own(veth(host, box, number))
        name = "lo"
        if stranger == "veth":
            run_in(host, "ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
            name = "x0"
        run_in(host, "ip", "link", "set", name, "group", str(scope.group))
        sends.clear()
    assert names(host) == (["lo"] if stranger == "lo" else ["lo", "x0", "x1"])
    assert "UP" in link(host, "lo")["flags"]
    assert sum(map(len, sends.of_kind(RTM_DELLINK))) == 3  # singly


def test_what_goes_with_a_namespace_is_not_deleted_singly(host: Namespace, sends: Sends) -> None:
    with Scope() as scope:
        one, two = scope.own(Namespace()), scope.own(Namespace())
        for number in range(5):
            scope.own(veth(one, two, number))
        scope.own(veth(host, one, 9))  # this one has a name in a namespace that stays
        sends.clear()
    assert sum(map(len, sends.of_kind(RTM_DELLINK))) == 1
    assert names(host) == ["lo"]


def test_deleted_behind_our_back_is_success(host: Namespace) -> None:
    with Scope() as scope:
        box = scope.own(Namespace("gone"))
        bridge = scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(box, name="v0", peer_name="eth0")
        scope.own(veth(host, box, 1))
        scope.own(veth(host, box, 2))
        table = scope.own(RouteTable(host, 100))
        table.add("10.9.0.0/16", via="10.0.0.2")
        scope.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="v0"))
        for words in ("route flush table 100", "link delete v1", "link delete br0", "link delete v0"):
            run_in(host, "ip", *words.split())
        place.unname("gone")
    assert names(host) == ["lo"]


def test_what_a_stranger_put_in_its_place_stays(host: Namespace, box: Namespace) -> None:
    """F43: the name, and even the index, is somebody else's now."""
    with Scope() as scope:
        pair = scope.own(veth(host, box))
        bridge = scope.own(Bridge(host, "br0"))
        indexes = pair.link.ifindex, bridge.link.ifindex
        for name, index in zip(("v0", "br0"), indexes, strict=True):
            run_in(host, "ip", "link", "delete", name)
            run_in(host, *f"ip link add {name} index {index} type bridge".split())
    assert names(host) == ["br0", "lo", "v0"]


# -- exceptions --------------------------------------------------------------------


class Stuck:
    """While active, the kernel's refusal to delete links (EBUSY), as a driver might."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch.context()
        self._real = NetlinkSocket._exchange
        self.active = False

        def refuse(sock: NetlinkSocket, requests: Sequence[Request], *rest: Any, **more: Any) -> Any:
            if self.active and any(request.kind == RTM_DELLINK for request in requests):
                raise kernel_error(requests[0].operation, errno.EBUSY, netns=sock.label)
            return self._real(sock, requests, *rest, **more)

        monkeypatch.setattr(NetlinkSocket, "_exchange", refuse)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Stuck:
    return Stuck(monkeypatch)


def test_the_bodys_exception_goes_on_unchanged(host: Namespace, box: Namespace) -> None:
    problem = ZeroDivisionError("body")

    def body() -> None:
        with Scope() as scope:
            scope.own(veth(host, box))
            raise problem

    with pytest.raises(ZeroDivisionError) as caught:
        body()
    assert caught.value is problem
    assert not hasattr(problem, "__notes__")
    assert names(host) == ["lo"]


def test_a_failed_teardown_after_an_exception_is_notes(host: Namespace, box: Namespace, stuck: Stuck) -> None:
    problem = ZeroDivisionError("body")
    scope = Scope().__enter__()
    pair, bridge = scope.own(veth(host, box)), scope.own(Bridge(host, "br0"))
    stuck.active = True
    try:
        raise problem
    except ZeroDivisionError as error:
        scope.__exit__(type(error), error, error.__traceback__)
    text = "\n".join(problem.__notes__)
    assert "EBUSY" in text
    assert "'v0'" in text
    assert "may still be there" in text
    stuck.active = False
    assert names(host) == ["br0", "lo", "v0"]
    pair.delete()
    bridge.delete()


def test_a_failed_teardown_is_a_teardown_error(host: Namespace, box: Namespace, stuck: Stuck) -> None:
    """The rest goes, and what is left can be deleted later."""
    scope = Scope().__enter__()
    pair = scope.own(veth(host, box))
    override = scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
    ns = scope.own(Namespace("other"))
    stuck.active = True
    with pytest.raises(TeardownError) as caught:
        scope.__exit__(None, None, None)
    assert isinstance(caught.value, ExceptionGroup)
    (problem,) = caught.value.exceptions
    assert isinstance(problem, KernelError)
    assert problem.errno == errno.EBUSY
    assert any("'v0'" in note and "may still be there" in note for note in problem.__notes__)
    assert not override.exists
    assert not ns.exists
    assert place.names() == ["box"]
    assert run_in(host, "sysctl", "-n", "net.ipv4.ip_default_ttl") == "64\n"
    assert pair.exists
    stuck.active = False
    pair.delete()
    assert names(host) == ["lo"]


def test_the_same_of_a_single_with(host: Namespace, box: Namespace, stuck: Stuck) -> None:
    pair = veth(host, box).create()
    stuck.active = True
    with pytest.raises(TeardownError):
        pair.__exit__(None, None, None)
    with pytest.raises(KernelError, match="EBUSY"):
        pair.delete()
    stuck.active = False
    pair.delete()


BUILDS: dict[str, Callable[[Scope, Namespace, Namespace], object]] = {
    "taken name": lambda scope, host, box: scope.own(veth(host, box, 7)),
    "no way": lambda scope, host, box: scope.own(RouteTable(host, 100)).add("10.9.0.0/16", via="192.0.2.1"),
    "no value": lambda scope, host, box: scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", "many")),
    "taken namespace": lambda scope, host, box: scope.own(Namespace("box")),
    "body": lambda scope, host, box: 1 / 0,
    "exit": lambda scope, host, box: sys.exit(3),
    "interrupt": lambda scope, host, box: signal.raise_signal(signal.SIGINT),
}


@pytest.mark.parametrize("build", BUILDS)
def test_a_build_that_fails_half_way_leaves_nothing(host: Namespace, box: Namespace, build: str) -> None:
    run_in(host, "ip", "link", "add", "v7", "type", "veth", "peer", "name", "w7")
    before = names(host), names(box), place.names(), run_in(host, "sysctl", "net.ipv4")
    expected = {"body": ZeroDivisionError, "exit": SystemExit, "interrupt": KeyboardInterrupt}.get(
        build, KernelError
    )

    def half_way() -> None:
        with Scope() as scope:
            inner = scope.own(Namespace("inner"))
            bridge = scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
            bridge.connect(inner, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
            scope.own(host.sysctl.override("net.ipv4.ip_forward", 1))
            scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
            BUILDS[build](scope, host, box)

    with pytest.raises(expected) as caught:
        half_way()
    assert not hasattr(caught.value, "__notes__")
    assert (names(host), names(box), place.names(), run_in(host, "sysctl", "net.ipv4")) == before
    assert nft(host) == []


def test_a_link_object_is_no_resource(host: Namespace, box: Namespace) -> None:
    """Links are deleted by their own verb, and what owned them finds them gone."""
    with Events(host) as events, Scope() as scope:
        pair = scope.own(veth(host, box))
        assert isinstance(pair.link, Link)
        pair.link.delete()
        events.wait_until(lambda: names(host) == ["lo"])
        assert not pair.exists
