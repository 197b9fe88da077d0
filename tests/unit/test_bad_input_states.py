"""Verbs before create(), after delete(), twice, or on what is borrowed: StateErrors that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netkit import Bridge, Namespace, NatRule, NotFoundError, RouteTable, Scope, StateError, VethPair
from tests.unit.watched_lab import Lab, lab, owned, refusal

__all__ = ["lab"]  # the fixture

RESOURCES: dict[str, Callable[[Lab], Any]] = {
    "namespace": lambda lab: Namespace(),
    "veth": lambda lab: VethPair(lab.host, lab.box, name="a", peer_name="b"),
    "bridge": lambda lab: Bridge(lab.host, "b"),
    "nat": lambda lab: NatRule.masquerade(lab.host, oif="eth0"),
}

USES: dict[str, dict[str, Callable[[Any], object]]] = {
    "namespace": {
        "links": lambda ns: len(ns.links),
        "link": lambda ns: ns.links["lo"],
        "routes": lambda ns: list(ns.routes),
        "rules": lambda ns: list(ns.rules),
        "neighbours": lambda ns: list(ns.neighbours),
        "ping": lambda ns: ns.ping("127.0.0.1"),
        "run": lambda ns: ns.run(["true"]),
        "popen": lambda ns: ns.popen(["true"]),
        "call": lambda ns: ns.call(int),
        "socket": lambda ns: ns.socket(),
        "entered": lambda ns: ns.entered().__enter__(),
        "sysctl": lambda ns: ns.sysctl["net.ipv4.ip_forward"],
        "fileno": lambda ns: ns.fileno(),
        "path": lambda ns: ns.path,
        "snapshot": lambda ns: ns.snapshot(),
    },
    "veth": {"link": lambda veth: veth.link, "peer": lambda veth: veth.peer, "unpack": list},
    "bridge": {
        "link": lambda bridge: bridge.link,
        "ports": lambda bridge: bridge.ports,
        "fdb": lambda bridge: list(bridge.fdb),
        "add_port": lambda bridge: bridge.add_port(None),
        "connect": lambda bridge: bridge.connect(None, name="v"),
    },
    "nat": {"counters": lambda rule: rule.counters},
}


@pytest.mark.parametrize(("kind", "use"), [(kind, use) for kind in USES for use in USES[kind]])
def test_used_before_create(lab: Lab, kind: str, use: str) -> None:
    resource = RESOURCES[kind](lab)
    message = refusal(lab, lambda lab: USES[kind][use](resource), StateError)
    assert "not created yet (use `with`, or create())" in message


@pytest.mark.parametrize(
    ("kind", "use"), [(kind, use) for kind in USES for use in USES[kind] if kind != "nat"]
)
def test_F19_used_after_delete(lab: Lab, kind: str, use: str) -> None:
    resource = RESOURCES[kind](lab).create()
    resource.delete()
    message = refusal(lab, lambda lab: USES[kind][use](resource), StateError)
    assert "is deleted" in message


@pytest.mark.parametrize("kind", RESOURCES)
def test_verbs_before_create(lab: Lab, kind: str) -> None:
    resource = RESOURCES[kind](lab)
    for verb in ("delete", "detach"):
        assert "not created yet" in refusal(lab, lambda lab, verb=verb: getattr(resource, verb)(), StateError)
    assert resource.exists is False


@pytest.mark.parametrize("kind", [kind for kind in RESOURCES if kind != "nat"])
def test_verbs_twice(lab: Lab, kind: str) -> None:
    resource = RESOURCES[kind](lab).create()
    assert "created already" in refusal(lab, lambda lab: resource.create(), StateError)
    resource.delete()
    for verb in ("delete", "detach"):
        assert "deleted" in refusal(lab, lambda lab, verb=verb: getattr(resource, verb)(), StateError)
    assert resource.exists is False


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("namespace", StateError), ("veth", NotFoundError), ("bridge", NotFoundError)],
)
def test_adopt_where_nothing_is(lab: Lab, kind: str, problem: type[Exception]) -> None:
    """It looks for what the description says; nothing tells an anonymous namespace from others."""
    resource = RESOURCES[kind](lab)
    for _ in ("before create", "after delete"):
        before = lab.kernel.state()
        with pytest.raises(problem):
            resource.adopt()
        assert lab.kernel.state() == before
        resource.create().delete()


def test_resources_in_a_namespace_that_is_not_created(lab: Lab) -> None:
    empty = Namespace()
    for make in (
        lambda lab: VethPair(empty, lab.box, name="a", peer_name="b").create(),
        lambda lab: VethPair(lab.box, empty, name="a", peer_name="b").create(),
        lambda lab: Bridge(empty, "b").create(),
        lambda lab: Bridge.open(empty, "b"),
        lambda lab: NatRule.masquerade(empty).create(),
        lambda lab: RouteTable(empty).__enter__(),
        lambda lab: list(RouteTable(empty)),
        lambda lab: lab.host.connect(empty, name="a", peer_name="b"),
        lambda lab: lab.bridge.connect(empty, name="a"),
        lambda lab: lab.eth0.move(empty),
    ):
        assert "not created yet" in refusal(lab, make, StateError)


def test_owners_verbs_on_what_is_borrowed(lab: Lab) -> None:
    bridge = Bridge.open(lab.host, "br0")
    for verb in ("delete", "detach", "create"):
        message = refusal(lab, lambda lab, verb=verb: getattr(bridge, verb)(), StateError)
        assert "adopt() takes ownership" in message
    for verb in ("delete", "create"):
        assert "borrowed" in refusal(lab, lambda lab, verb=verb: getattr(lab.host, verb)(), StateError)
    assert "borrowed" in refusal(lab, lambda lab: owned(lab.host), StateError)
    assert "borrowed" in refusal(lab, lambda lab: owned(bridge), StateError)


def test_scopes_out_of_their_block(lab: Lab) -> None:
    scope = Scope()
    make = RESOURCES["bridge"]
    assert "not entered yet" in refusal(lab, lambda lab: scope.own(make(lab)), StateError)
    with scope:
        assert "entered already" in refusal(lab, lambda lab: scope.__enter__(), StateError)
    assert "closed" in refusal(lab, lambda lab: scope.own(make(lab)), StateError)


def test_route_tables_that_are_closed(lab: Lab) -> None:
    with RouteTable(lab.host, 100) as table:
        pass
    for use in (lambda lab: table.add("10.9.0.0/16", type="blackhole"), lambda lab: table.__enter__()):
        assert "closed" in refusal(lab, use, StateError)
