"""What is drawn of real namespaces, against what `ip` says of them."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import netkit
from netkit import Bridge, Namespace, NatRule, Picture, Scope, Snapshot, Topology, VethPair
from netkit._display.model import Box, Device
from tests.harness.oracle import ip, run_in
from tests.harness.patience import LONG


def as_ip_says(ns: Namespace) -> dict[str, tuple[str, list[str], str | None]]:
    """State, addresses and master by name, of all links but lo."""
    found: dict[str, tuple[str, list[str], str | None]] = {}
    for link in ip(ns, "address", "show"):
        up = "UP" in link["flags"]
        state = "down" if not up else "up" if link["operstate"] in ("UP", "UNKNOWN") else "no carrier"
        addresses = [
            f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] != "link"
        ]
        if link["ifname"] != "lo":
            found[link["ifname"]] = (state, sorted(addresses), link.get("master"))
    return found


def as_drawn(box: Box) -> dict[str, tuple[str, list[str], str | None]]:
    return {each.name: (each.state, sorted(each.addresses), each.master) for each in box.devices}


@pytest.fixture
def lab(host: Namespace) -> Any:
    """A host with an uplink, a bridge with two containers, one of them unplugged, and NAT."""
    with Scope() as scope:
        outside, one, two = scope.own(Namespace("outside"), Namespace("one"), Namespace("two"))
        scope.own(VethPair(host, outside, name="up0", peer_name="eth0", address="192.0.2.2/24",
                           peer_address="192.0.2.1/24"))  # fmt: skip
        host.routes.add("default", via="192.0.2.1")
        bridge = scope.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd00::1/64"]))
        for number, box in enumerate((one, two)):
            bridge.connect(
                box, name=f"veth{number}", peer_name="eth0", default_route=True,
                peer_address=[f"172.18.0.{number + 2}/24", f"fd00::{number + 2}/64"],
            )  # fmt: skip
        two.links["eth0"].down()
        scope.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="up0"))
        with host.sysctl.override("net.ipv4.ip_forward", 1):
            yield scope, host, outside, one, two
        host.routes.flush()


def test_boxes_are_what_ip_says(lab: Any) -> None:
    _, host, outside, one, two = lab
    namespaces = (host, outside, one, two)
    picture = Picture.of(*namespaces)
    for box, netns in zip(picture.boxes, namespaces, strict=True):
        assert as_drawn(box) == as_ip_says(netns), box.name
        routes = [each for family in ("-4", "-6") for each in ip(netns, family, "route", "show", "default")]
        assert list(box.defaults) == [f"default via {each['gateway']} dev {each['dev']}" for each in routes]
    assert [box.forwards for box in picture.boxes] == [True, False, False, False]
    assert picture.boxes[0].nat == ('oifname "up0" ip saddr 172.18.0.0/24 masquerade',)


def test_wires_are_where_the_kernel_has_them(lab: Any) -> None:
    _, host, outside, one, two = lab
    picture = Picture.of(outside, host, two, one)
    ends = {
        frozenset({(picture.box(end.box).name, end.device) for end in (wire.near, wire.far)}): wire.state
        for wire in picture.wires
    }
    name = picture.boxes[1].name
    assert ends == {
        frozenset({(name, "up0"), ("outside", "eth0")}): "up",
        frozenset({(name, "veth0"), ("one", "eth0")}): "up",
        frozenset({(name, "veth1"), ("two", "eth0")}): "down",
    }


def test_a_veth_that_leaves_the_picture_says_where_to(lab: Any) -> None:
    _, _, outside, one, _ = lab
    picture = Picture.of(one, outside)
    assert picture.wires == ()
    assert [box.devices[0].far for box in picture.boxes] == [
        "an anonymous namespace:veth0",
        "an anonymous namespace:up0",
    ]


def test_equal_indexes_in_other_namespaces_are_not_taken_for_peers(host: Namespace) -> None:
    """The kernel numbers from 1 in each namespace: an index alone says nothing."""
    add = "link add x0 index 7 type veth peer name x1 index 8".split()
    with Namespace() as one, Namespace() as two:
        for netns in (one, two):
            run_in(netns, "ip", *add)
        picture = Picture.of(one, two)
        assert [(wire.near.device, wire.far.device) for wire in picture.wires] == [("x0", "x1")] * 2
        assert all(wire.near.box == wire.far.box for wire in picture.wires)


def test_equal_indexes_of_pairs_that_leave(host: Namespace) -> None:
    """Two pairs between four namespaces, all ends with the same index: the namespace's id decides."""
    with Namespace("one") as one, Namespace("two") as two, Namespace("three") as three:
        for near, far in ((one, two), (three, host)):
            with near.pyroute2() as ipr:
                peer = {"ifname": "x1", "net_ns_fd": far.fileno(), "index": 7}
                ipr.link("add", ifname="x0", kind="veth", index=7, peer=peer)
        picture = Picture.of(one, two, three)
        joined = [{picture.box(wire.near.box).name, picture.box(wire.far.box).name} for wire in picture.wires]
        assert joined == [{"one", "two"}]


def test_names_and_aliases_of_strangers_are_escaped(host: Namespace) -> None:
    with VethPair(host, host, name="a", peer_name="b") as pair:
        pair.peer.down()
        run_in(host, "ip", "link", "set", "dev", "b", "name", "<img&\x1b[1m")
        pair.link.set(alias="<img/src=x>\x1b[2J")
        texts = [host._repr_html_(), host.links._repr_html_(), pair.link._repr_html_(), host.to_svg()]
        for text in texts:
            assert "<img" not in text
            assert "\x1b" not in text
        assert "\\x1b[2J" in texts[2]
        assert "\x1b" not in str(host.picture())
        ET.fromstring(host.to_svg())


def test_every_object_has_its_table(lab: Any) -> None:
    scope, host, _, one, _ = lab
    bridge = Bridge.open(host, "br0")
    rule = next(each for each in scope._held if isinstance(each, NatRule))
    shown = [
        (host.links, "veth1"), (host.links["br0"], "172.18.0.1/24"),
        (host.links["br0"].addresses, "fd00::1/64"),
        (host.routes, "192.0.2.1"), (host.rules, "lookup main"), (host.neighbours, "state"),
        (host.conntrack, "forgotten in"), (bridge, "veth0"), (bridge.fdb, "permanent"), (rule, "masquerade"),
        (host.nat, "this process"), (host.links["br0"].altnames, "alternative name"),
        (VethPair.open(one, "eth0"), "veth0"),
    ]  # fmt: skip
    for each, text in shown:
        assert text in each._repr_html_(), each


def test_what_is_looked_at_while_it_happens_has_its_table(host: Namespace) -> None:
    with host.links["lo"].capture("icmp") as packets, host.nat.watch() as watch:
        reply = host.ping("127.0.0.1")
        assert "restored" in watch._repr_html_()
    with host.sysctl.override("net.ipv4.ip_default_ttl", 99) as override:
        shown: list[tuple[Any, str]] = [(override, "<td>99</td><td>99</td>"), (host.sysctl, "<td>99</td>")]
        process = host.popen(["sleep", "60"])
        shown += [
            (process, "it runs"),
            (packets, "127.0.0.1 &gt; 127.0.0.1"),
            (packets.captured()[0], "icmp"),
        ]
        shown += [(reply, "<td>received</td><td>1</td>"), (host.routes.get("127.0.0.1"), "<td>lo</td>")]
        shown += [(each, "127.0.0.1/8") for each in host.snapshot().addresses if each.address.version == 4]
        shown += [(host.snapshot().links[0], "<td>name</td><td>lo</td>")]
        for each, text in shown:
            assert text in each._repr_html_(), each
        process.kill()
        process.wait()
    assert "-9" in process._repr_html_()
    assert "<td>32768 60999</td>" in host.sysctl._repr_html_()  # read with a tab in between


# The base of what can be created; it has no instances of its own.
NOT_SHOWN = {"Resource"}


def test_whatever_is_public_shows_itself() -> None:
    classes = [value for name in netkit.__all__ if isinstance(value := getattr(netkit, name), type)]
    lacking = {each.__name__ for each in classes if not hasattr(each, "_repr_html_")}
    assert {each for each in lacking if not each.endswith(("Error", "WaitTimeout"))} == NOT_SHOWN
    drawn = {each.__name__ for each in classes if hasattr(each, "_repr_svg_")}
    assert drawn == {"Namespace", "Network", "Picture", "Scope", "Snapshot", "Topology"}


def test_a_network_is_drawn_by_the_names_of_its_plan() -> None:
    plan = Topology.star(3, subnet="10.0.0.0/24")
    with plan as net:
        live, planned = net.picture(), plan.picture()
        assert [each.name for each in live.boxes] == [each.name for each in planned.boxes]
        assert {each.state for box in live.boxes for each in box.devices} == {"up"}
        for one, other in zip(live.boxes, planned.boxes, strict=True):
            assert {each.name: each.addresses for each in one.devices} == {
                each.name: each.addresses for each in other.devices
            }
            assert one.defaults == other.defaults
        assert len(live.wires) == 3
    assert "deleted" in net.picture().note


def test_a_star_is_drawn_in_the_order_of_its_plan() -> None:
    with Topology.star(12, subnet="10.0.0.0/24") as net:
        ends = [wire.far for wire in net.picture().wires]
        assert [net.picture().box(end.box).name for end in ends] == [
            f"box{number}" for number in range(1, 13)
        ]


def test_a_snapshot_is_drawn_when_all_is_gone(host: Namespace) -> None:
    with VethPair(host, host, name="a", peer_name="b", address="10.0.0.1/24"):
        snapshot = host.snapshot()
    picture = snapshot.picture()
    assert isinstance(snapshot, Snapshot)
    assert [each for each in picture.boxes[0].devices if each.name == "a"] == [
        Device("a", "veth", "up", ("10.0.0.1/24",))
    ]
    assert [(wire.near.device, wire.far.device) for wire in picture.wires] == [("a", "b")]


def test_a_borrowed_namespace_in_a_scope_shows_only_what_is_owned(host: Namespace) -> None:
    with VethPair(host, host, name="theirs0", peer_name="theirs1"), Namespace.from_fd(host.fileno()) as here:
        with Scope() as scope:
            box = scope.own(Namespace("box"))
            scope.own(VethPair(here, box, name="ours0", peer_name="eth0"))
            drawn = {each.name: [device.name for device in each.devices] for each in scope.picture().boxes}
        assert sorted(drawn.values()) == [["eth0"], ["ours0"]]


def test_the_plain_values_are_json(host: Namespace) -> None:
    with VethPair(host, host, name="a", peer_name="b"):
        plain = json.loads(json.dumps(host.picture().to_dict()))
    ((_, namespace),) = plain["namespaces"].items()
    assert sorted(namespace["links"]) == ["a", "b"]
    assert plain["veths"][0]["state"] == "up"


def test_looking_costs_little(host: Namespace) -> None:
    """It is done whenever a cell ends with an object."""
    with Topology.star(20) as net:
        requests: list[int] = []
        for netns in net.values():
            requests.append(netns._live_runtime().route._sequence)  # type: ignore[attr-defined]
        net.picture()
        for netns, before in zip(net.values(), requests, strict=True):
            assert netns._live_runtime().route._sequence - before < 40  # type: ignore[attr-defined]


def test_nothing_that_draws_is_loaded_before_somebody_looks() -> None:
    source = (
        "import sys, netkit\n"
        "assert not [name for name in sys.modules if name.startswith('netkit._display')]\n"
        "netkit.Topology.star(2)._repr_mimebundle_()\n"
        "loaded = {'netkit._display.svg', 'netkit._display.page'} - sys.modules.keys()\n"
        "assert not loaded, loaded\n"
        "assert 'IPython' not in sys.modules\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", source], check=True, cwd=root, timeout=LONG)
