"""How much teardown costs (docs/design.md, decision 14), and signals that come meanwhile (F03)."""

from __future__ import annotations

import errno
import signal
from types import FrameType

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from tests.unit.fake_lab import Lab

# -- how much teardown costs (decision 14) --------------------------------------------------------


def test_links_of_one_scope_go_in_one_message(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        for n in range(10):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    assert lab.kernel.state() == before


def test_a_stranger_in_the_group_makes_them_go_singly(lab: Lab) -> None:
    with Scope() as scope:
        for n in range(3):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        stranger = Bridge(lab.red, "stranger").create()
        stranger.link.set(group=scope.group)
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 3
    assert [link.name for link in lab.red.links] == ["lo", "stranger"]
    stranger.delete()


def test_lo_in_the_group_makes_them_go_singly(lab: Lab) -> None:
    with Scope() as scope:
        for n in range(3):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        lab.red.links["lo"].set(group=scope.group)
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 3
    assert [link.name for link in lab.red.links] == ["lo"]


def test_all_of_a_group_gone_after_the_look_is_success(lab: Lab) -> None:
    with Scope() as scope:
        veths = [scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}")) for n in range(2)]
        fake = lab.kernel._fake(lab.red).links
        for veth in veths:
            device = fake.by_index[veth.link.ifindex]
            lab.kernel.before(2, lambda device=device: fake.remove(device))  # a dump, the deletion
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    assert lab.kernel.pending_faults == 0


def test_one_of_them_gone_already_does_not_stop_the_others(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        veths = [scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}")) for n in range(3)]
        veths[1].link.delete()
    assert lab.kernel.state() == before


def test_what_lives_only_in_a_dropped_namespace_is_not_deleted_singly(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        one, two = scope.own(Namespace()), scope.own(Namespace())
        scope.own(VethPair(one, two, name="a", peer_name="b"))
        bridge = scope.own(Bridge(one, "br0", address="10.0.0.1/24"))
        bridge.connect(two, name="p", peer_address="10.0.0.2/24", default_route=True)
        scope.own(RouteTable(two, 100)).add("10.9.0.0/16", via="10.0.0.1")
        lab.kernel.forget_requests()
    assert lab.kernel.sent("RTM_DELLINK", "RTM_DELROUTE") == []
    assert lab.kernel.state() == before


def test_what_has_a_name_in_a_surviving_namespace_is_gone_when_the_block_ends(lab: Lab) -> None:
    with Scope() as scope:
        box = scope.own(Namespace())
        scope.own(VethPair(box, lab.red, name="a", peer_name="b"))
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    with VethPair(lab.red, lab.blue, name="b", peer_name="c"):
        assert "b" in lab.red.links


# -- signals (F03) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_signals_wait_for_the_end_of_a_teardown(lab: Lab, number: int) -> None:
    before = lab.kernel.state()
    done: list[bool] = []

    def handler(number: int, frame: FrameType | None) -> None:
        done.append([link.name for link in lab.red.links] == ["lo"])
        raise InterruptedError("the signal")

    old = signal.signal(number, handler)
    try:
        for n in range(1, 12):
            done.clear()
            scope = Scope().__enter__()
            for k in range(3):
                scope.own(VethPair(lab.red, lab.blue, name=f"a{k}", peer_name=f"b{k}"))
            Bridge(lab.blue, f"stranger{n}").create().link.set(group=scope.group)
            lab.kernel.before(min(n, 2), lambda: signal.raise_signal(number))
            with pytest.raises(InterruptedError, match="the signal"):
                scope.__exit__(None, None, None)
            assert done == [True], n
            lab.blue.links[f"stranger{n}"].delete()
            assert lab.kernel.state() == before
    finally:
        signal.signal(number, old)


def test_a_signal_during_rollback_waits_too(lab: Lab) -> None:
    before = lab.kernel.state()
    lab.kernel.refuse(2, errno.ENOMEM)
    lab.kernel.before(3, lambda: signal.raise_signal(signal.SIGINT))
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24")
    with pytest.raises(KeyboardInterrupt):
        veth.create()
    assert lab.kernel.state() == before


def test_handlers_are_given_back(lab: Lab) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Bridge(lab.red, "br0"):
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
