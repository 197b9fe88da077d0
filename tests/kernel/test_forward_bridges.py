"""What bridges need of forwarding: those that are set apart, and firewalls of others that drop."""

from __future__ import annotations

import pytest

from netkit import Bridge, Namespace, NotFoundError, Scope
from tests.harness.forwarding import DROPS, FOUR, SIX, build, drops, forwards, said, shown
from tests.harness.packets import TIMEOUT, bound, tcp


@pytest.mark.parametrize("addresses", [FOUR, SIX], ids=["v4", "v6"])
def test_an_internal_bridge_forwards_nothing(addresses: list[str]) -> None:
    with Scope() as lab:
        host, box, far, outside = build(lab, internal=True)
        inside, other, _, away = addresses
        assert not forwards(outside, box, inside)
        assert not forwards(box, outside, away)
        assert not forwards(box, far, other)
        assert not forwards(far, box, inside)
        assert forwards(far, outside, away, TIMEOUT)
        assert forwards(host, box, inside, TIMEOUT)
        assert box.ping("172.18.0.1" if addresses is FOUR else "fd18::1").received == 1
    with Scope() as lab:  # that what did not pass would have
        host, box, far, outside = build(lab)
        assert forwards(outside, box, inside, TIMEOUT)
        assert forwards(box, far, other, TIMEOUT)


@pytest.mark.parametrize("addresses", [FOUR, SIX], ids=["v4", "v6"])
def test_an_isolated_bridge_has_no_neighbours(addresses: list[str]) -> None:
    inside, other, gate, away = addresses
    with Scope() as lab:
        host, box, far, outside = build(lab, isolate=True)
        assert not forwards(far, box, inside)
        assert not forwards(box, far, other)
        assert forwards(box, outside, away, TIMEOUT)
        assert forwards(outside, box, inside, TIMEOUT)
        with host.publish(8080, to=(box, 80)), bound(box, inside, 80) as server:  # this is for anybody
            assert tcp(far, gate, 8080, server) == other


def test_neighbours_within_an_internal_bridge_see_each_other() -> None:
    with Scope() as lab:
        host, one, two = [lab.own(Namespace()) for _ in range(3)]
        bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24", internal=True, isolate=True))
        for number, box in ((2, one), (3, two)):
            bridge.connect(box, name=f"port{number}", peer_address=f"172.18.0.{number}/24")
        assert one.ping("172.18.0.3").received == 1
        for key in ("iptables", "ip6tables"):
            host.sysctl[f"net.bridge.bridge-nf-call-{key}"] = 1
        assert forwards(one, two, "172.18.0.3", TIMEOUT)


@drops
def test_a_bridge_opens_a_firewall(drop: str) -> None:
    with Scope() as lab:
        host, box, _, outside = build(lab)
        said(host, DROPS[drop][0])
        before = shown(host, drop)
        with Bridge(host, "br2", address="172.20.0.1/24", open_forward=True) as bridge:
            guest = lab.own(Namespace())
            bridge.connect(guest, name="port9", peer_address="172.20.0.2/24", default_route=True)
            with bound(outside, FOUR[3], 80) as server:
                assert tcp(guest, FOUR[3], 80, server) == "172.20.0.2"
            assert not forwards(outside, guest, "172.20.0.2")
            assert not forwards(box, outside, FOUR[3])
        assert shown(host, drop) == before


def test_rules_come_and_go_with_the_bridge(host: Namespace) -> None:
    one = Bridge(host, "br0", internal=True)
    two = Bridge(host, "br1", isolate=True)
    with Scope() as lab:
        lab.own(one, two)  # together
        text = said(host, "nft list ruleset")
        assert 'iifname "br0" oifname != "br0"' in text
        assert 'iifname "br1" oifname != "br1" meta oifkind "bridge"' in text
    assert said(host, "nft list ruleset") == ""
    one.create().detach()
    assert "table inet netkit {" in said(host, "nft list ruleset")
    Bridge(host, "br0", internal=True).adopt().delete()
    assert said(host, "nft list ruleset") == ""
    with pytest.raises(NotFoundError):
        Bridge.open(host, "br0")
