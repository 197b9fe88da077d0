"""Random changes to a namespace; after each, `ns.snapshot()` says what `ip -j` says.

Whether the kernel takes a change is not foreseen here: a refusal is as good as any outcome, as
long as both see the same afterwards.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from netkit import Bridge, KernelError, Namespace, Route, RouteTable, Rule, Snapshot, VethPair
from netkit._snapshot import LinkState
from netkit._spec.names import protocol_number, scope_number, table_name
from tests.harness.oracle import ip

NAMES = ["v0", "v1", "v2", "v3", "br0", "br1"]
names = st.sampled_from(["lo", *NAMES])
addresses = st.sampled_from(
    ["10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/32", "172.16.0.1/12", "fd00::1/64", "fd00::2/64", "fd01::1/128"]
)
destinations = st.sampled_from(
    ["default", "10.9.0.0/16", "10.0.0.0/24", "192.0.2.1/32", "fd09::/32", "fd00::/64"]
)
gateways = st.sampled_from([None, None, "10.0.0.9", "172.16.0.9", "fd00::9"])
tables = st.sampled_from(["main", 100, 1000])
types = st.sampled_from(["unicast", "unicast", "blackhole", "unreachable", "prohibit"])
metrics = st.sampled_from([None, 50])
priorities = st.sampled_from([None, 100, 200])
marks = st.sampled_from([None, "0x1/0xff"])
networks = st.sampled_from([None, "10.0.0.0/8", "fd00::/16"])
macs = st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"])
neighbours = st.sampled_from(["10.0.0.7", "10.0.0.8", "fd00::7"])


class Network(RuleBasedStateMachine):
    """One namespace, changed at random."""

    def __init__(self) -> None:
        super().__init__()
        self.ns = Namespace().create()
        # Something to begin with: else most changes would find nothing to change.
        VethPair(self.ns, self.ns, name="v0", peer_name="v1", address="10.0.0.1/24").create().detach()
        VethPair(self.ns, self.ns, name="v2", peer_name="v3", address="fd00::1/64").create().detach()
        # With STP: both ends of a pair may become ports, and what circles then takes all namespaces' packets.
        Bridge(self.ns, "br0", stp=True).create().detach()

    def teardown(self) -> None:
        self.ns.delete()

    # -- links -------------------------------------------------------------------------

    @rule(name=names, peer=names, up=st.booleans())
    def make_veth(self, name: str, peer: str, up: bool) -> None:
        if name != peer:
            self._try(lambda: VethPair(self.ns, self.ns, name=name, peer_name=peer, up=up).create().detach())

    @rule(name=names, address=st.sampled_from([None, "10.3.0.1/24"]))
    def make_bridge(self, name: str, address: str | None) -> None:
        self._try(lambda: Bridge(self.ns, name, stp=True, address=address, ageing_time=60).create().detach())

    @rule(name=names)
    def delete_link(self, name: str) -> None:
        self._try(lambda: self.ns.links[name].delete())

    @rule(name=names, new=st.sampled_from([*NAMES, "renamed"]))
    def rename(self, name: str, new: str) -> None:
        self._try(lambda: self.ns.links[name].rename(new))

    @rule(name=names, up=st.booleans())
    def set_up_or_down(self, name: str, up: bool) -> None:
        self._try(lambda: self.ns.links[name].up() if up else self.ns.links[name].down())

    @rule(name=names, mtu=st.sampled_from([60, 576, 1280, 1400, 9000]))
    def set_mtu(self, name: str, mtu: int) -> None:
        self._try(lambda: self.ns.links[name].set(mtu=max(mtu, 68)))

    @rule(
        name=names,
        mac=macs,
        alias=st.sampled_from(["", "uplink", "a b"]),
        txqlen=st.integers(0, 3),
        group=st.integers(0, 2),
    )
    def set_more(self, name: str, mac: str, alias: str, txqlen: int, group: int) -> None:
        self._try(lambda: self.ns.links[name].set(mac=mac, alias=alias, txqlen=txqlen, group=group))

    @rule(name=names, master=st.sampled_from(["br0", "br1"]), hairpin=st.booleans(), cost=st.integers(1, 3))
    def add_port(self, name: str, master: str, hairpin: bool, cost: int) -> None:
        def change() -> None:
            if self.ns.links[master].kind == "bridge":
                Bridge.open(self.ns, master).add_port(self.ns.links[name], hairpin=hairpin, cost=cost)

        self._try(change)

    @rule(name=names)
    def remove_port(self, name: str) -> None:
        def change() -> None:
            link = self.ns.links[name]
            if link.master is not None:
                Bridge.open(self.ns, link.master.name).remove_port(link)

        self._try(change)

    @rule(name=names, other=st.sampled_from(["alt0", "alt1", "v0"]), adding=st.booleans())
    def alternative_name(self, name: str, other: str, adding: bool) -> None:
        def change() -> None:
            altnames = self.ns.links[name].altnames
            if adding:
                altnames.add(other)
            else:
                altnames.remove(other)

        self._try(change)

    # -- addresses ---------------------------------------------------------------------

    @rule(name=names, address=addresses, replace=st.booleans())
    def add_address(self, name: str, address: str, replace: bool) -> None:
        def change() -> None:
            known = self.ns.links[name].addresses
            if replace:
                known.replace(address)
            else:
                known.add(address)

        self._try(change)

    @rule(name=names, address=addresses)
    def remove_address(self, name: str, address: str) -> None:
        self._try(lambda: self.ns.links[name].addresses.remove(address))

    # -- routes and rules ----------------------------------------------------------------

    @rule(
        dst=destinations, via=gateways, name=st.sampled_from([None, *NAMES]), table=tables, type=types,
        metric=metrics, replace=st.booleans(),
    )  # fmt: skip
    def add_route(
        self,
        dst: str,
        via: str | None,
        name: str | None,
        table: int | str,
        type: str,
        metric: int | None,
        replace: bool,
    ) -> None:
        if type != "unicast":
            via = name = None
        elif not via and not name:
            return
        if dst != "default" and via and (":" in dst) != (":" in via):
            return
        where = RouteTable(self.ns, table)
        send = where.replace if replace else where.add
        self._try(lambda: send(dst, via=via, dev=name, type=type, metric=metric))

    @rule(dst=destinations, table=tables, metric=metrics)
    def delete_route(self, dst: str, table: int | str, metric: int | None) -> None:
        self._try(lambda: RouteTable(self.ns, table).delete(dst, metric=metric))

    @rule(src=networks, iif=st.sampled_from([None, "v0"]), mark=marks, table=tables, priority=priorities)
    def add_rule(
        self, src: str | None, iif: str | None, mark: str | None, table: int | str, priority: int | None
    ) -> None:
        add = self.ns.rules.add
        self._try(lambda: add(src=src, iif=iif, fwmark=mark, table=table, priority=priority))

    @rule(index=st.integers(0, 7))
    def delete_rule(self, index: int) -> None:
        rules = [rule for rule in self.ns.rules if rule.priority not in (0, 32766, 32767)]
        if rules:
            self._try(lambda: self.ns.rules.delete(rules[index % len(rules)]))

    # -- neighbours ----------------------------------------------------------------------

    @rule(name=names, address=neighbours, mac=macs, replace=st.booleans())
    def add_neighbour(self, name: str, address: str, mac: str, replace: bool) -> None:
        send = self.ns.neighbours.replace if replace else self.ns.neighbours.add
        self._try(lambda: send(address, mac=mac, dev=name))

    @rule(name=names, address=neighbours)
    def delete_neighbour(self, name: str, address: str) -> None:
        self._try(lambda: self.ns.neighbours.delete(address, dev=name))

    # -- the comparison -------------------------------------------------------------------

    @invariant()
    def both_see_the_same(self) -> None:
        """The kernel may still be at work (a carrier, an address of its own): what counts is a moment
        at which two snapshots around the reading by `ip` agree."""
        for _ in range(50):
            before = self.ns.snapshot()
            expected = by_ip(self.ns)
            if before == self.ns.snapshot():
                break
        else:
            raise AssertionError("the namespace does not come to rest")
        assert before.consistent
        assert by_snapshot(before) == expected

    def _try(self, change: Callable[[], object]) -> None:
        with contextlib.suppress(KernelError):
            change()


def by_snapshot(snapshot: Snapshot) -> dict[str, list[Any]]:
    """What a snapshot says, in plain words."""
    addresses = [(each.link, str(each.address), each.scope, each.label) for each in snapshot.addresses]
    permanent = [each for each in snapshot.neighbours if each.state == "permanent"]
    return {
        "links": sorted([_link(link) for link in snapshot.links]),
        "addresses": sorted(addresses),
        "routes": sorted([_route(route) for route in snapshot.routes]),
        "rules": sorted([_rule(rule) for rule in snapshot.rules]),
        "neighbours": sorted([(str(each.address), each.dev, each.mac) for each in permanent]),
    }


def _link(link: LinkState) -> tuple[object, ...]:
    options: list[object] = []
    if link.bridge is not None:
        options += [link.bridge.stp, link.bridge.ageing_time * 100]
    if link.port is not None:
        options += [link.port.hairpin, link.port.cost]
    return (
        link.name, link.kind, link.mtu, link.mac, link.state.upper(), link.up, link.master, link.peer,
        link.alias, link.altnames, link.txqlen, link.group, tuple(options),
    )  # fmt: skip


def _route(route: Route) -> tuple[object, ...]:
    hops = tuple((str(hop.via or ""), hop.dev or "", hop.weight) for hop in route.nexthops)
    return (
        str(route.family), str(route.dst), str(route.via or ""), route.dev or "", str(route.src or ""),
        route.metric or 0, protocol_number(route.proto), scope_number(route.scope),
        table_name(route.table), route.type, hops,
    )  # fmt: skip


def _rule(rule: Rule) -> tuple[object, ...]:
    return (
        str(rule.family), rule.priority, str(rule.src or "all"), str(rule.dst or "all"), rule.iif or "",
        rule.oif or "", rule.fwmark or 0, table_name(rule.table),
    )  # fmt: skip


def by_ip(ns: Namespace) -> dict[str, list[Any]]:
    """The same from `ip -j -d`."""
    links = ip(ns, "address", "show")
    addresses = [
        (link["ifname"], f"{info['local']}/{info['prefixlen']}", info["scope"], info.get("label"))
        for link in links
        for info in link["addr_info"]
    ]
    routes = [(family, r) for family in "46" for r in ip(ns, f"-{family}", *"route show table all".split())]
    rules = [(family, r) for family in "46" for r in ip(ns, f"-{family}", "rule", "show")]
    permanent = [each for each in ip(ns, "neighbour", "show") if each["state"] == ["PERMANENT"]]
    return {
        "links": sorted([_ip_link(link) for link in links]),
        "addresses": sorted(addresses),
        "routes": sorted([_ip_route(family, route) for family, route in routes]),
        "rules": sorted([_ip_rule(family, rule) for family, rule in rules]),
        "neighbours": sorted([(each["dst"], each["dev"], each["lladdr"]) for each in permanent]),
    }


def _ip_link(link: dict[str, Any]) -> tuple[object, ...]:
    info = link.get("linkinfo", {})
    data, slave = info.get("info_data", {}), info.get("info_slave_data", {})
    options: list[object] = []
    if info.get("info_kind") == "bridge":
        options += [data["stp_state"], data["ageing_time"]]
    if slave:
        options += [slave["hairpin"], slave["cost"]]
    group = 0 if link["group"] == "default" else int(link["group"])
    return (
        link["ifname"], info.get("info_kind"), link["mtu"], link["address"], link["operstate"],
        "UP" in link["flags"], link.get("master"), link.get("link"), link.get("ifalias"),
        tuple(link.get("altnames", ())), link.get("txqlen", 0), group, tuple(options),
    )  # fmt: skip


def _ip_route(family: str, route: dict[str, Any]) -> tuple[object, ...]:
    dst = route["dst"]
    if dst != "default" and "/" not in dst:
        dst += "/32" if family == "4" else "/128"
    hops = [(hop.get("gateway", ""), hop.get("dev", ""), hop["weight"]) for hop in route.get("nexthops", ())]
    scope = scope_number(route.get("scope", "global"))
    return (
        family, dst, route.get("gateway", ""), route.get("dev", ""), route.get("prefsrc", ""),
        route.get("metric", 0), protocol_number(route["protocol"]), scope,
        route.get("table", "main"), route["type"], tuple(hops),
    )  # fmt: skip


def _ip_rule(family: str, rule: dict[str, Any]) -> tuple[object, ...]:
    def network(which: str) -> str:
        address = str(rule.get(which, "all"))
        length = rule.get(f"{which}len")
        return address if length is None else f"{address}/{length}"

    return (
        family, rule["priority"], network("src"), network("dst"), rule.get("iif", ""), rule.get("oif", ""),
        int(rule.get("fwmark", "0"), 0), rule["table"],
    )  # fmt: skip


# Half a minute; NETKIT_TEST_EXAMPLES=1000 digs deeper here too.
_EXAMPLES = max(20, int(os.environ.get("NETKIT_TEST_EXAMPLES", "100")) // 5)
TestNetwork = Network.TestCase
TestNetwork.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
