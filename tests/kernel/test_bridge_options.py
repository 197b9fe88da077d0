"""The options of a bridge and its ports, read back: against `ip -j -d link` and `bridge -j -d link`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netkit import (
    Bridge,
    BridgeInfo,
    Link,
    Namespace,
    NotFoundError,
    PortInfo,
    Scope,
    StateError,
    VethPair,
)
from netkit.testing import FakeKernel
from tests.harness.oracle import VLAN_FILTERING, lacks, link, run_in

# When a port forwards, after twice the delay, the bridge comes up, and forgets addresses sooner.
BRIDGE = {"stp": True, "forward_delay": 29.5, "hello_time": 1, "max_age": 10, "ageing_time": 77}
PORT = {"hairpin": True, "isolated": True, "learning": False, "flood": False, "cost": 77, "priority": 3}


def by_ip(ns: Namespace, name: str = "br0") -> BridgeInfo:
    """What `ip -d link` says of a bridge."""
    said = link(ns, name)["linkinfo"]["info_data"]
    return BridgeInfo(
        stp=bool(said["stp_state"]),
        forward_delay=said["forward_delay"] / 100,
        hello_time=said["hello_time"] / 100,
        max_age=said["max_age"] / 100,
        ageing_time=said["ageing_time"] / 100,
        priority=said["priority"],
        mcast_snooping=bool(said["mcast_snooping"]),
        vlan_filtering=bool(said.get("vlan_filtering", 0)),
    )


def by_bridge(ns: Namespace, name: str) -> dict[str, Any]:
    """What `bridge -d link` says of a port."""
    said: list[dict[str, Any]] = json.loads(run_in(ns, "bridge", "-j", "-d", "link", "show", "dev", name))
    return said[0]


def same_as_bridge(found: PortInfo | None, said: dict[str, Any]) -> bool:
    """Every field is what `bridge` says by the same word."""
    assert found is not None
    return {name: getattr(found, name) for name in found._fields} == {
        name: said[name] for name in found._fields
    }


def test_a_new_bridge_and_port(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        veth = bridge.connect(box, name="veth0")
        assert bridge.read() == by_ip(host)
        assert same_as_bridge(veth.link.port, by_bridge(host, "veth0"))
        assert (bridge.stp, bridge.ageing_time, bridge.mcast_snooping) == (False, 300, True)
        assert (bridge.link.port, veth.peer.port, host.links["lo"].port) == (None, None, None)


def test_each_option_that_can_be_given_is_read_by_its_name(host: Namespace, box: Namespace) -> None:
    mac = "02:00:00:00:00:09"
    with Bridge(host, "br0", mac=mac, mtu=1400, mcast_snooping=False, **BRIDGE) as bridge:  # type: ignore[arg-type]
        veth = bridge.connect(box, name="veth0", **PORT)  # type: ignore[arg-type]
        given = {"mac": mac, "mtu": 1400, "mcast_snooping": False, "vlan_filtering": False, **BRIDGE}
        assert {name: getattr(bridge, name) for name in given} == given
        assert {name: getattr(veth.link.port, name) for name in PORT} == PORT
        assert bridge.read() == by_ip(host)
        assert same_as_bridge(veth.link.port, by_bridge(host, "veth0"))
        assert (link(host, "br0")["address"], link(host, "br0")["mtu"]) == (bridge.mac, bridge.mtu)


def test_what_others_change_is_read_afresh(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        port = bridge.connect(box, name="veth0").link
        before, port_before = bridge.read(), port.port
        run_in(host, *"ip link set br0 type bridge priority 4096 ageing_time 1234 stp_state 1".split())
        run_in(host, *"ip link set br0 type bridge forward_delay 780 hello_time 300 max_age 1500".split())
        words = "guard on root_block on fastleave on mcast_flood off bcast_flood off cost 65535 priority 63"
        run_in(host, *f"bridge link set dev veth0 {words}".split())
        assert (bridge.read(), bridge.read().priority, bridge.ageing_time) == (by_ip(host), 4096, 12.34)
        assert (bridge.forward_delay, bridge.hello_time, bridge.max_age) == (7.8, 3, 15)
        assert before != bridge.read()
        now = port.port
        assert same_as_bridge(now, by_bridge(host, "veth0"))
        assert now is not None
        assert (now.guard, now.root_block, now.fastleave, now.mcast_flood, now.bcast_flood) == (
            (True,) * 3 + (False,) * 2
        )
        assert now != port_before
        bridge.remove_port(port)
        assert port.port is None


# A port that is blocked by hand the kernel lets forward again at once (br_port_state_selection).
@pytest.mark.parametrize("state", ["disabled", "listening", "learning", "forwarding"])
def test_the_state_of_a_port(host: Namespace, box: Namespace, state: str) -> None:
    with Bridge(host, "br0") as bridge:
        port = bridge.connect(box, name="veth0").link
        before = port.port
        run_in(host, "bridge", "link", "set", "dev", "veth0", "state", state)
        assert port.port is not None
        assert port.port.state == state == by_bridge(host, "veth0")["state"]
        assert port.port == before, "it changes by itself, and does not count"


def test_all_at_once(host: Namespace, box: Namespace) -> None:
    """In one read of all links, and in a snapshot, which says what is another."""
    with Bridge(host, "br0", **BRIDGE) as bridge:  # type: ignore[arg-type]
        pairs = [bridge.connect(box, name=f"v{n}", peer_name=f"p{n}", cost=n, **NO_COST) for n in (5, 6, 7)]  # type: ignore[arg-type]
        before = host.snapshot()
        infos = {info.name: info for info in host.links.read()}
        assert {name: info.bridge for name, info in infos.items() if info.bridge} == {"br0": bridge.read()}
        ports = {pair.link.name: pair.link.port for pair in pairs}
        assert {name: info.port for name, info in infos.items() if info.port} == ports
        assert {link.name: link.port for link in before.links if link.port} == ports
        assert {link.name: link.bridge for link in before.links if link.bridge} == {"br0": bridge.read()}
        bridge.add_port(pairs[0].link, cost=99)
        # Routes of link-local addresses come later, on a work queue.
        gone, come = [line for line in before.diff(host.snapshot()) if " link " in line]
        assert ("cost=5 " in gone, "cost=99 " in come) == (True, True)


NO_COST = {name: value for name, value in PORT.items() if name != "cost"}


def test_a_borrowed_one_and_one_that_is_not_there(host: Namespace) -> None:
    run_in(host, *"ip link add theirs type bridge ageing_time 4200".split())
    borrowed = Bridge.open(host, "theirs")
    assert (borrowed.ageing_time, borrowed.read()) == (42, by_ip(host, "theirs"))
    run_in(host, "ip", "link", "del", "theirs")
    bridge = Bridge(host, "br0")
    for read in (lambda: borrowed.stp, borrowed.read):
        with pytest.raises(NotFoundError, match="'theirs'"):
            read()
    for early in (lambda: bridge.stp, lambda: bridge.mac, bridge.read):
        with pytest.raises(StateError, match="not created yet"):
            early()
    bridge.create().delete()
    with pytest.raises(StateError, match="deleted"):
        bridge.read()


def test_another_link_of_its_index_is_not_taken_for_it(host: Namespace) -> None:
    bridge = Bridge(host, "br0").create()
    index = bridge.link.ifindex
    run_in(host, "ip", "link", "del", "br0")
    run_in(host, *f"ip link add x0 index {index} type veth peer name x1".split())
    with pytest.raises(NotFoundError, match="another link"):
        bridge.read()
    bridge.delete()


def test_vlan_filtering_is_read(host: Namespace) -> None:
    if reason := lacks(host, *VLAN_FILTERING):
        pytest.skip(f"needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING: {reason}")
    with Bridge(host, "br0", vlan_filtering=True) as bridge:
        assert bridge.vlan_filtering
        assert bridge.read() == by_ip(host)


def _lab() -> tuple[BridgeInfo, BridgeInfo, list[PortInfo | None]]:
    with Scope() as lab:
        here, there = lab.own(Namespace(), Namespace())
        plain = lab.own(Bridge(here, "br0"))
        chosen = lab.own(Bridge(here, "br1", mcast_snooping=False, **BRIDGE))  # type: ignore[arg-type]
        links: list[Link] = [
            plain.connect(there, name="a", peer_name="a").link,
            plain.connect(there, name="b", peer_name="b", **PORT).link,  # type: ignore[arg-type]
            chosen.connect(there, name="c", peer_name="c").link,
        ]
        alone = lab.own(VethPair(here, there, name="d", peer_name="d"))
        found = [each.port for each in [*links, alone.link]]
        return plain.read(), chosen.read(), found


def test_the_simulated_kernel_says_the_same() -> None:
    real = _lab()
    with FakeKernel():
        fake = _lab()
    assert fake == real
    assert [each and each.state for each in fake[2]] == [each and each.state for each in real[2]]
