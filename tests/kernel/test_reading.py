"""Links.read against `ip -j -d address` and against the properties of Link."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from netkit import Bridge, Link, LinkInfo, Namespace, StateError, VethPair
from netkit._netlink.socket import NetlinkSocket
from tests.harness.oracle import Events, ip, link, run_in


@pytest.fixture
def lab(host: Namespace) -> Namespace:
    """Links of several kinds, with and without what a link may have; nothing changes by itself any more."""
    host.sysctl["net.ipv6.conf.default.addr_gen_mode"] = 1  # no addresses that come when there is a carrier
    for line in (
        "link add br0 type bridge",
        "address add 10.0.0.1/24 dev br0",
        "address add fd00::1/64 dev br0 nodad",
        "link add port type veth peer name far",
        "link set br0 type bridge ageing_time 4200 stp_state 1",
        "link set port master br0 mtu 1400 alias uplink txqueuelen 77 up",
        "link set port type bridge_slave cost 9 hairpin on",
        "link property add dev port altname a-rather-long-name-of-it altname p",
        "link set far up group 7 address 02:00:00:00:AB:01",
        "address add 10.1.0.1 peer 10.1.0.2/32 dev far label far:x",
    ):
        run_in(host, "ip", *line.split())
    with Events(host) as events:
        events.wait_until(lambda: [link(host, each)["operstate"] for each in ("port", "far")] == ["UP", "UP"])
    return host


def _by_ip(entry: dict[str, Any]) -> tuple[object, ...]:
    info = entry.get("linkinfo", {})
    bridge = info["info_data"] if info.get("info_kind") == "bridge" else None
    port = info["info_slave_data"] if info.get("info_slave_kind") == "bridge" else None
    return (
        entry["ifname"],
        entry["ifindex"],
        entry.get("linkinfo", {}).get("info_kind"),
        entry["mtu"],
        entry["address"],
        entry["operstate"].lower(),
        "UP" in entry["flags"],
        entry.get("master"),
        entry.get("ifalias"),
        tuple(entry.get("altnames", ())),
        entry.get("txqlen", 0),
        0 if entry["group"] == "default" else int(entry["group"]),
        None if bridge is None else (bridge["ageing_time"], bridge["stp_state"]),
        None if port is None else (port["cost"], port["hairpin"]),
        sorted((info["local"], info.get("label"), info["scope"]) for info in entry["addr_info"]),
    )


def _by_netkit(info: LinkInfo) -> tuple[object, ...]:
    plain = [getattr(info, name) for name in info._fields[:-3]]
    bridge = None if info.bridge is None else (info.bridge.ageing_time * 100, info.bridge.stp)
    port = None if info.port is None else (info.port.cost, info.port.hairpin)
    return (*plain, bridge, port, sorted((str(each.ip), each.label, each.scope) for each in info.addresses))


def test_reads_what_ip_reads(lab: Namespace) -> None:
    assert [_by_netkit(info) for info in lab.links.read()] == [
        _by_ip(each) for each in ip(lab, "address", "show")
    ]


def test_agrees_with_each_link(lab: Namespace) -> None:
    for info in lab.links.read():
        link = lab.links[info.name]
        master = link.master
        assert list(info.addresses) == list(link.addresses)
        assert info.master == (None if master is None else master.name)
        for name in ("ifindex", "kind", "mtu", "mac", "state", "alias", "txqlen", "group"):
            assert getattr(info, name) == getattr(link, name), name
        assert (info.up, info.altnames) == (link.is_up, tuple(link.altnames))


def test_it_is_of_that_moment(lab: Namespace) -> None:
    before = {info.name: info for info in lab.links.read()}
    lab.links["far"].set(mtu=1300)
    lab.links["br0"].rename("br9")
    lab.links["far"].addresses.add("10.9.0.1/32")
    after = {info.name: info for info in lab.links.read()}
    assert (before["far"].mtu, after["far"].mtu) == (1500, 1300)
    assert (before["port"].master, after["port"].master) == ("br0", "br9")
    assert len(after["far"].addresses) == len(before["far"].addresses) + 1
    assert before["far"] != after["far"]
    assert before["lo"] == after["lo"]


def test_it_is_a_value(lab: Namespace) -> None:
    one, same = (lab.links.read()[0] for _ in range(2))
    assert (one, hash(one)) == (same, hash(same))
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == one
    assert repr(one).startswith("LinkInfo(name='lo', ifindex=1, kind=None, mtu=65536")
    with pytest.raises(AttributeError, match="frozen"):
        one.mtu = 5
    with pytest.raises(AttributeError, match="speed"):
        one.speed  # type: ignore[attr-defined] # noqa: B018


def test_F39_two_questions_however_many_links(lab: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    exchange = NetlinkSocket._exchange

    def count(self: NetlinkSocket, requests: Any, *more: Any) -> Any:
        asked.extend([request.operation for request in requests])
        return exchange(self, requests, *more)

    monkeypatch.setattr(NetlinkSocket, "_exchange", count)
    links = lab.links.read()
    assert [str(address) for info in links for address in info.addresses if info.mtu]
    assert asked == ["list links", "list addresses"]


def test_a_veth_into_another_namespace_and_many_of_them(host: Namespace) -> None:
    """More than one datagram of links, which differ in the length of their names."""
    with Namespace() as box, Bridge(host, "br0") as bridge:
        pairs = [
            VethPair(host, box, name=f"v{n}", peer_name=f"p{n}", address=f"10.0.0.{n}/32")
            for n in range(90, 130)
        ]
        made = [pair.create() for pair in pairs]
        bridge.add_port(made[3].link)
        found = {info.name: info for info in host.links.read()}
        assert set(found) == {"lo", "br0", *[f"v{n}" for n in range(90, 130)]}
        assert found["v93"].master == "br0"
        for n in range(90, 130):
            assert f"10.0.0.{n}/32" in found[f"v{n}"].addresses
            assert (found[f"v{n}"].kind, found[f"v{n}"].up) == ("veth", True)
        for pair in made:
            pair.delete()


def test_after_the_block_it_is_a_state_error() -> None:
    with Namespace() as ns:
        links = ns.links
        assert isinstance(links["lo"], Link)
    with pytest.raises(StateError):
        links.read()
