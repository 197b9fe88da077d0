"""The simulated kernel against the real one: the same steps end in the same answers and the same state."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import pytest

from netkit import Bridge, KernelError, Namespace, NextHop, RouteTable, Snapshot, VethPair
from netkit.testing import FakeKernel

Step = Callable[[Namespace], object]
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")


def veth(**options: object) -> Step:
    return lambda ns: (
        VethPair(ns, ns, name="a", peer_name="b", mac=MACS[0], peer_mac=MACS[1], **options)  # type: ignore[arg-type]
        .create()
        .detach()
    )


def bridge(name: str = "br0", **options: object) -> Step:
    mac = f"02:00:00:00:01:{len(name):02x}"
    return lambda ns: Bridge(ns, name, mac=mac, **options).create().detach()  # type: ignore[arg-type]


def route(dst: str, table: int | str = "main", verb: str = "add", **options: object) -> Step:
    return lambda ns: getattr(RouteTable(ns, table), verb)(dst, **options)


def link(name: str, verb: str, *arguments: object, **options: object) -> Step:
    return lambda ns: getattr(ns.links[name], verb)(*arguments, **options)


def address(name: str, verb: str, text: str) -> Step:
    return lambda ns: getattr(ns.links[name].addresses, verb)(text)


def altname(name: str, verb: str, other: str) -> Step:
    return lambda ns: getattr(ns.links[name].altnames, verb)(other)


def port(name: str, master: str, **options: object) -> Step:
    return lambda ns: Bridge.open(ns, master).add_port(ns.links[name], **options)  # type: ignore[arg-type]


SCRIPTS: dict[str, list[Step]] = {
    "names": [
        veth(up=False), veth(), bridge("a"), bridge("b"), link("a", "rename", "b"), link("a", "rename", "c"),
        altname("c", "add", "long-alternative-name"), altname("b", "add", "long-alternative-name"),
        altname("c", "add", "b"), altname("b", "remove", "long-alternative-name"),
        lambda ns: ns.links["long-alternative-name"].up(), bridge("a"),
        altname("c", "remove", "long-alternative-name"), lambda ns: ns.links["long-alternative-name"],
        link("c", "delete"), link("c", "delete"), link("b", "up"), link("lo", "delete"),
    ],
    "names of links that are up": [veth(), link("a", "rename", "b"), link("a", "rename", "c")],
    "settings": [
        veth(up=False), link("a", "set", mtu=68), link("a", "set", mtu=1280), link("a", "set", mtu=65535),
        link("lo", "set", mtu=100000), link("a", "set", alias="x y"), link("a", "set", alias=""),
        link("a", "set", txqlen=7, group=9), link("a", "set", mac="02:00:00:00:00:09"), link("a", "up"),
        link("a", "set", mac="02:00:00:00:00:0a"), link("b", "up"), link("b", "down"), link("a", "down"),
    ],
    "bridges": [
        veth(), bridge("br0", stp=True, ageing_time=60), bridge("br11"),
        port("a", "br0", hairpin=True, cost=9),
        port("a", "br11"), port("br0", "br11"), port("lo", "br0"),
        port("b", "br0", isolated=True, priority=5), port("b", "br0", cost=7),
        lambda ns: Bridge.open(ns, "a"), link("br0", "delete"), lambda ns: print(ns.links["a"].master),
    ],
    "addresses": [
        veth(), address("a", "add", "10.0.0.1/24"), address("a", "add", "10.0.0.1/24"),
        address("b", "add", "10.0.0.1/24"), address("a", "replace", "10.0.0.1/24"),
        address("a", "add", "10.0.0.1/25"), address("a", "remove", "10.0.0.1/24"),
        address("a", "remove", "10.0.0.1/24"), address("a", "add", "fd00::1/64"),
        address("a", "add", "fd00::1/64"), address("a", "remove", "fd00::9/64"),
        address("a", "remove", "fd00::1/64"),
    ],
    "routes": [
        veth(address="10.0.0.1/24"), route("10.9.0.0/16", via="10.0.0.2"),
        route("10.9.0.0/16", via="10.0.0.2"),
        route("10.9.0.0/16", via="10.0.0.3", metric=5), route("10.8.0.0/16", via="192.0.2.1"),
        route("10.8.0.0/16", dev="a"), route("10.8.0.0/16", dev="nobody"),
        route("10.8.0.0/16", verb="replace", via="10.0.0.4"), route("10.7.0.0/16", type="blackhole"),
        route("10.7.0.0/16", verb="delete", type="unreachable"), route("10.7.0.0/16", verb="delete"),
        route("10.7.0.0/16", verb="delete"), route("10.9.0.0/16", verb="delete", via="10.0.0.9"),
        route("10.9.0.0/16", verb="delete", metric=5), route("default", 100, via="10.0.0.2"),
        route("default", 1000, type="prohibit"), lambda ns: ns.routes.get("10.9.1.1"),
        lambda ns: ns.routes.get("192.0.2.1"), lambda ns: list(RouteTable(ns, 77)),
        route("10.6.0.0/16", nexthops=[NextHop(via="10.0.0.5", weight=2), NextHop(via="10.0.0.6")]),
        link("a", "down"), route("10.5.0.0/16", dev="a"), lambda ns: ns.routes.get("10.9.1.1"),
    ],
    "IPv6 routes": [
        veth(address="fd00::1/64"), route("fd09::/32", via="fd00::2"), route("fd09::/32", via="fd00::2"),
        route("fd08::/32", via="fd77::1"), route("fd08::/32", dev="a", metric=7),
        route("fd07::/32", type="unreachable"), route("fd07::/32", verb="delete"),
        route("fd07::/32", verb="delete"), lambda ns: ns.routes.get("fd09::1"),
        lambda ns: ns.routes.get("fd55::1"),
    ],
    "rules": [
        lambda ns: ns.rules.add(src="10.0.0.0/8", table=100),
        lambda ns: ns.rules.add(src="10.0.0.0/8", table=100),
        lambda ns: ns.rules.add(src="10.0.0.0/8", table=100, priority=5),
        lambda ns: ns.rules.add(src="10.0.0.0/8", table=100, priority=5),
        lambda ns: ns.rules.add(fwmark="0x1/0xff", iif="lo", table=7, family=6),
        lambda ns: ns.rules.delete(src="10.0.0.0/8", table=100, priority=5),
        lambda ns: ns.rules.delete(src="10.0.0.0/8", table=100, priority=5),
        lambda ns: ns.rules.delete(src="10.1.0.0/16", table=100),
    ],
    "neighbours": [
        veth(address="10.0.0.1/24"),
        lambda ns: ns.neighbours.add("10.0.0.2", mac="02:00:00:00:00:02", dev="a"),
        lambda ns: ns.neighbours.add("10.0.0.2", mac="02:00:00:00:00:03", dev="a"),
        lambda ns: ns.neighbours.replace("10.0.0.2", mac="02:00:00:00:00:03", dev="a"),
        lambda ns: ns.neighbours.add("10.0.0.2", mac="02:00:00:00:00:03", dev="nobody"),
        lambda ns: ns.neighbours.delete("10.0.0.2", dev="a"),
        lambda ns: ns.neighbours.delete("10.0.0.2", dev="a"),
    ],
}  # fmt: skip


LINUX = tuple(int(part) for part in os.uname().release.split(".")[:2])


@contextlib.contextmanager
def namespace(real: bool) -> Iterator[Namespace]:
    """A new namespace of the one kernel or the other."""
    if real:
        with Namespace() as ns:
            yield ns
        return
    with FakeKernel(), Namespace() as ns:
        yield ns


def played(script: list[Step], real: bool) -> tuple[list[object], list[str]]:
    """How each step ended, and what was there afterwards."""
    with namespace(real) as ns:
        outcomes = [outcome(ns, step) for step in script]
        return outcomes, state(ns.snapshot())


def outcome(ns: Namespace, step: Step) -> object:
    try:
        step(ns)
    except KernelError as problem:
        return type(problem).__name__, problem.errno, problem.extack
    except Exception as problem:
        return type(problem).__name__
    return "done"


def state(snapshot: Snapshot) -> list[str]:
    """Without what FakeKernel does not simulate: link-local and broadcast addresses, multicast."""
    lines = [f"link {dataclasses.replace(link, index=0, state='', peer=None)!r}" for link in snapshot.links]
    lines += [f"address {each}" for each in snapshot.addresses if each.scope != "link"]
    lines += [
        f"route {route}"
        for route in snapshot.routes
        if route.type not in ("broadcast", "multicast", "anycast", "local") and "fe80" not in str(route)
    ]
    lines += [f"rule {rule.family} {rule}" for rule in snapshot.rules]
    lines += [f"neighbour {each}" for each in snapshot.neighbours if each.state == "permanent"]
    return sorted(lines)


def _as_wordy_as(fake: object, real: object) -> object:
    """FakeKernel speaks as Linux 6.18 does; 6.1 refuses addresses with an errno alone."""
    if isinstance(fake, tuple) and isinstance(real, tuple) and real[2] is None:
        return (*fake[:2], None)
    return fake


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_the_two_kernels_agree(script: list[Step]) -> None:
    if script is SCRIPTS["names of links that are up"] and LINUX < (6, 2):
        pytest.skip("before Linux 6.2 a link is renamed only while it is down")
    real, real_state = played(script, real=True)
    fake, fake_state = played(script, real=False)
    assert list(map(_as_wordy_as, fake, real)) == real
    assert fake_state == real_state
