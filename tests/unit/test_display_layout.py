"""Where things are drawn: nothing on top of something else, nothing outside, no wire through a box."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings

from netkit import Topology
from netkit._display.layout import Layout, lay_out
from netkit._display.measure import Written
from netkit._display.model import Box, Device, End, Wire
from netkit._display.picture import Picture
from netkit._display.sources import of_plan
from netkit._display.summary import MOST, summarised
from tests.unit.pictures import pictures
from tests.unit.topology_plans import connected_plans

Points = list[tuple[float, float]]
STARS = [Topology.star(2), Topology.star(9), Topology.star(59), Topology.star(59, subnet="auto6")]
SHAPES = [
    *STARS, Topology.line(2), Topology.line(9), Topology.line(60), Topology.ring(7), Topology.mesh(7),
    Topology.tree(3, 3),
]  # fmt: skip


def check(picture: Picture) -> Layout:
    """All that holds for any drawing."""
    layout = lay_out(picture)
    assert len(layout.boxes) == len(picture.boxes)
    assert len(layout.routes) == len(picture.wires)
    for one, other in itertools.combinations(layout.boxes, 2):
        assert not overlap(one, other), (one.box.name, other.box.name)
    for box in layout.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= layout.width + 0.01
        assert box.y + box.height <= layout.height + 0.01
        for label in box.labels:
            assert 0 <= label.x <= label.right <= box.width, label
            assert 8 <= label.y <= box.height - 8, label
    by_key = {each.box.key: each for each in layout.boxes}
    for route in layout.routes:
        assert plugged(route.points, route.wire, by_key)
        for x, y in route.points:
            assert 0 <= x <= layout.width + 0.01
            assert 0 <= y <= layout.height + 0.01
        for curve in curves(route.points):
            for box in layout.boxes:
                assert not crosses(curve, box), (route.wire, box.box.name)
    return layout


def overlap(one: Written, other: Written) -> bool:
    return (
        one.x < other.x + other.width and other.x < one.x + one.width
        and one.y < other.y + other.height and other.y < one.y + one.height
    )  # fmt: skip


def plugged(points: Points, wire: Wire, by_key: dict[str, Written]) -> bool:
    """Whether it begins and ends at its devices' height, on sides of their boxes."""
    ends = [(by_key[end.box], end.device) for end in (wire.near, wire.far)]
    for way in ((points[0], points[-1]), (points[-1], points[0])):
        if all(at(box, device, point) for (box, device), point in zip(ends, way, strict=True)):
            return True
    return False


def at(box: Written, device: str, point: tuple[float, float]) -> bool:
    sides = [abs(point[0] - side) < 0.01 for side in (box.x, box.x + box.width)]
    return any(sides) and abs(point[1] - box.anchor(device)) < 0.01


def curves(points: Points) -> Iterator[Points]:
    for start in range(0, len(points) - 1, 3):
        yield points[start : start + 4]


def crosses(curve: Points, box: Written) -> bool:
    """Whether a curve may be in a box: it stays in the rectangle of its four points."""
    xs, ys = [x for x, _ in curve], [y for _, y in curve]
    return (
        min(xs) < box.x + box.width and box.x < max(xs) and min(ys) < box.y + box.height and box.y < max(ys)
    )


@pytest.mark.parametrize("plan", SHAPES, ids=repr)
def test_the_usual_shapes(plan: Topology) -> None:
    check(of_plan(plan))


@settings(max_examples=30, deadline=None)
@given(pictures(most=8))
def test_anything(picture: Picture) -> None:
    check(picture)


@settings(max_examples=25, deadline=None)
@given(connected_plans())
def test_any_topology(plan: Topology) -> None:
    check(of_plan(plan))


@settings(max_examples=15, deadline=None)
@given(pictures(most=5))
@example(Picture([], []))
def test_the_svg_is_xml_with_every_text_inside(picture: Picture) -> None:
    root = ET.fromstring(picture.to_svg())
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    space = "{http://www.w3.org/2000/svg}"
    assert {each.tag for each in root.iter()} <= {
        space + name for name in "svg title desc style g rect path circle text".split()
    }
    for group in [root, *root.iter(f"{space}g")]:
        dx, dy = _offset(group)
        for text in group.findall(f"{space}text"):
            half = text.attrib["class"] == "pill"
            x, y = float(text.attrib["x"]) + dx, float(text.attrib["y"]) + dy
            length = 7.3 * len((text.text or "").strip("\u0300")) if text.text and text.text.isascii() else 0
            assert x - (length / 2 if half else 0) >= 0
            assert x + (0 if half else length) <= width
            assert 0 <= y <= height


def _offset(group: ET.Element) -> tuple[float, float]:
    if "transform" not in group.attrib:
        return 0.0, 0.0
    x, y = group.attrib["transform"].removeprefix("translate(").removesuffix(")").split(",")
    return float(x), float(y)


def test_wires_do_not_cross_where_they_need_not() -> None:
    """The ports of a bridge stand in the order of what they lead to."""
    layout = lay_out(of_plan(Topology.star(59)))
    (switch,) = [each for each in layout.boxes if each.box.name == "switch"]
    ports = sorted((height, name) for name, height in switch.anchors.items() if name != "lan")
    assert [name for _, name in ports] == [f"box{number}" for number in range(1, 60)]


def test_a_picture_of_a_thousand_is_small() -> None:
    picture = of_plan(Topology.star(1000))
    drawn = summarised(picture)
    assert len(drawn.boxes) == 5
    assert [(each.name, each.remark) for each in drawn.boxes if each.count > 1] == [
        ("box4 – box1000", "997 of them")
    ]
    assert drawn.boxes[0].remark == "996 more ports"
    assert "1001 namespaces, 1000 veths" in drawn.note
    assert len(picture.to_svg()) < 20_000
    check(drawn)


def test_what_cannot_be_put_together_is_cut() -> None:
    drawn = summarised(of_plan(Topology.line(200)))
    assert len(drawn.boxes) == MOST
    assert "140 boxes more are not drawn" in drawn.note
    assert len(drawn.wires) == MOST - 1
    check(drawn)


def test_up_to_sixty_all_are_drawn() -> None:
    assert len(summarised(of_plan(Topology.star(59))).boxes) == 60


def test_a_wire_within_a_namespace_is_drawn() -> None:
    devices = tuple([Device(name, "veth", "up") for name in "ab"])
    check(Picture([Box("n0", "box", devices)], [Wire(End("n0", "a"), End("n0", "b"), "up")]))
