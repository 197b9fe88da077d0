"""What is shown of names and comments is harmless, and says what it has to."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netkit import Bridge, Link, Namespace, Scope, Topology, VethPair
from netkit._display.dot import draw as dot
from netkit._display.mermaid import draw as mermaid
from netkit._display.model import Box, Device
from netkit._display.page import rendered
from netkit._display.palette import DARK, LIGHT, svg_style
from netkit._display.picture import Picture
from netkit._display.tables import Table
from netkit._display.texts import cells, padded, printable, shortened, shortened_inside
from netkit.testing import FakeKernel
from tests.api.test_docstring_parts import OBJECTS, found
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.unit.pictures import NAMES, pictures


class Tags(HTMLParser):
    """What a browser takes for elements, handlers and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.suspicious: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.suspicious += [each for each in attrs if each[0].startswith("on") or each[0] in ("href", "src")]


HARMLESS = set(
    "html head meta title style body h1 p div details summary table caption thead tbody tr th td code "
    "svg desc g rect path circle text".split()
)


@settings(max_examples=20, deadline=None)
@given(pictures(most=4))
def test_no_name_becomes_markup(picture: Picture) -> None:
    tags = Tags(picture.to_html())
    assert tags.names <= HARMLESS
    assert tags.suspicious == []
    picture.to_html().encode()


@settings(max_examples=20, deadline=None)
@given(pictures(most=4))
def test_no_name_drives_a_terminal(picture: Picture) -> None:
    text = str(picture)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    text.encode()


@given(st.text(), st.integers(1, 80))
def test_what_is_shortened_fits(text: str, width: int) -> None:
    short = shortened(printable(text), width)
    assert cells(short) <= width
    assert cells(padded(short, width)) == width


@given(NAMES, st.integers(3, 20))
def test_what_is_cut_in_the_middle_fits_and_keeps_both_ends(text: str, width: int) -> None:
    whole = printable(text)
    short = shortened_inside(whole, width)
    assert cells(short) <= width
    assert short == whole or all(part in whole for part in short.split("…", 1))
    assert short == whole or width < 8 or whole.endswith(short[-1])


def test_the_end_of_a_rule_is_what_it_does_and_is_seen() -> None:
    rule = 'iifname "uplink-abcdefgh" udp dport 5000-5010 dnat to [fd00:18::2]:5000-5010'
    drawn = Picture([Box("n0", "box", nat=(rule,))], []).to_svg()
    assert "…dnat to [fd00:18::2]:5000-5010</text>" in drawn
    assert f"<title>{rule.replace(chr(34), '&quot;')}</title>" in drawn


def test_the_longest_name_of_a_lower_device_is_not_cut() -> None:
    device = Device("macvlan01234567", "macvlan on uplink-abcdefgh", "up")
    assert "macvlan on uplink-abcdefgh</text>" in Picture([Box("n0", "box", (device,))], []).to_svg()


def test_escapes_are_readable() -> None:
    assert printable("a\x1b[0m\u202eb\ud800\U000e0001") == "a\\x1b[0m\\u202eb\\ud800\\U000e0001"
    assert printable("grün 日本") == "grün 日本"
    assert cells("日本") == 4
    assert cells("e\u0301") == 1


# -- mermaid and dot ----------------------------------------------------------------

# One statement per line: a flowchart of subgraphs, nodes with quoted texts, links, classes.
_TEXT = r'"[^"]*"'
_STATEMENTS = [
    r"flowchart LR",
    rf"  subgraph n\d+\[{_TEXT}\]",
    rf"    n\d+(d\d+|t)(\[{_TEXT}\]|\[\[{_TEXT}\]\])",
    r"    n\d+d\d+ --- n\d+d\d+",
    r"  end",
    r"  n\d+d\d+ (---|-\. (down|no carrier) \.-) n\d+d\d+",
    r"  classDef (up|down|nocarrier|planned) stroke:#[0-9a-f]{6},stroke-width:2px",
    r"  class n\d+d\d+(,n\d+d\d+)* (up|down|nocarrier|planned)",
    r"%% [^\n]*",
]


@settings(max_examples=20, deadline=None)
@given(pictures(most=4))
def test_every_line_of_mermaid_is_a_statement(picture: Picture) -> None:
    for line in mermaid(picture).rstrip("\n").split("\n"):
        assert any(re.fullmatch(statement, line) for statement in _STATEMENTS), line
        for text in re.findall(_TEXT, line):
            assert not re.search(r"[<>`\\]|#(?!\w+;)", text.replace("<br/>", "")), line


def test_mermaid_of_a_small_network() -> None:
    assert Topology.line(2, subnet="10.0.0.0/30").to_mermaid() == (
        "flowchart LR\n"
        '  subgraph n0["box1"]\n'
        '    n0d0["eth0<br/>10.0.0.1/30"]\n'
        "  end\n"
        '  subgraph n1["box2"]\n'
        '    n1d0["eth0<br/>10.0.0.2/30"]\n'
        "  end\n"
        "  n0d0 --- n1d0\n"
        "  classDef planned stroke:#64748b,stroke-width:2px\n"
        "  class n0d0,n1d0 planned\n"
    )


@needs("dot")
def test_graphviz_reads_a_note_of_nothing() -> None:
    for name in ("\n", " "):
        assert _graphviz(dot(Picture([Box("n0", name)], [], note=" \n"))).returncode == 0


@needs("dot")
@settings(max_examples=8, deadline=None)
@given(pictures(most=4))
def test_graphviz_reads_the_dot(picture: Picture) -> None:
    assert _graphviz(dot(picture)).returncode == 0


@needs("dot")
def test_graphviz_sees_what_there_is() -> None:
    done = _graphviz(Topology.star(3, subnet="10.0.0.0/24").to_dot())
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.count("\nnode ") == 4
    assert done.stdout.count("\nedge ") == 3


def _graphviz(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("dot") or "", "-Tplain"], input=text, capture_output=True, text=True, timeout=LONG
    )


# -- colours ----------------------------------------------------------------------------


def _luminance(colour: str) -> float:
    parts = [int(colour[number : number + 2], 16) / 255 for number in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted([_luminance(one), _luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_can_be_read_and_shapes_be_seen(palette: dict[str, str]) -> None:
    """WCAG 2: 4.5 to 1 for texts, 3 to 1 for what else means something."""
    for ink in ("text", "dim", "address", "down"):
        for ground in ("paper", "box", "frame", "head"):
            assert _contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
    for pill in ("default", "route", "nat", "port"):
        assert _contrast(palette["pill-text"], palette[pill]) >= 4.5, pill
    for shape in ("wire", "up", "no-carrier", "planned", "edge"):
        for ground in ("paper", "box", "frame"):
            assert _contrast(palette[shape], palette[ground]) >= 3, (shape, ground)


def test_paper_is_light_whatever_is_preferred() -> None:
    light, dark, paper = re.split(r"@media [^{]*\{|@media\([^{]*\{", svg_style())
    assert all(colour in light and colour in paper for colour in LIGHT.values())
    assert all(colour in dark for colour in DARK.values())


# -- objects of a simulated kernel ------------------------------------------------------


def test_a_scope_draws_what_it_owns() -> None:
    with FakeKernel() as kernel, Scope() as lab:
        host = kernel.namespace("host")  # borrowed: what else is in it is not the scope's
        box = lab.own(Namespace("box"))
        VethPair(host, host, name="other0", peer_name="other1").create()
        bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(box, name="veth0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
        picture = lab.picture()
        assert [(each.name, [device.name for device in each.devices]) for each in picture.boxes] == [
            ("box", ["eth0"]),
            ("host", ["br0", "veth0"]),
        ]
        assert [{wire.near.device, wire.far.device} for wire in picture.wires] == [{"veth0", "eth0"}]
        assert picture.boxes[0].defaults == ("default via 10.0.0.1 dev eth0",)


@pytest.mark.parametrize("name", [each for each in OBJECTS if each != "_sysctl.Sysctls"])
def test_every_object_has_a_display(name: str) -> None:
    """Sysctls are thousands of files: one is read by its name."""
    assert callable(getattr(found(name), "_repr_html_", None))


def test_a_scope_that_has_ended_says_so() -> None:
    with FakeKernel(), Scope() as lab:
        lab.own(Namespace("box"))
        assert "box" in str(lab.picture())
    assert str(lab.picture()) == "This scope is closed."
    assert "This scope is closed." in lab._repr_html_()


def test_what_is_gone_says_so_and_never_raises() -> None:
    with FakeKernel() as kernel:
        host = kernel.namespace("host")
        with Bridge(host, "br0") as bridge:
            link = bridge.link
        gone = Namespace("box").create()
        links = gone.links
        gone.delete()
    shown: list[object] = [bridge, link, gone, links, Bridge(host, "br1"), Namespace()]
    for each in shown:
        text = each._repr_html_()  # type: ignore[attr-defined]
        assert Tags(text).names <= HARMLESS
        assert re.search("deleted|not created yet|closed|No such device|gone", text), text
    assert isinstance(link, Link)
    assert gone._repr_mimebundle_()["text/plain"] == "box (deleted)"


def test_a_plan_that_cannot_be_built_is_no_exception() -> None:
    plan = Topology(subnet="10.0.0.0/30")
    plan.add_bridge("lan")
    for number in range(9):
        plan.add_namespace(f"box{number}")
        plan.add_link(f"box{number}", "lan")
    bundle = plan._repr_mimebundle_()
    assert "Topology of 9 namespaces" in bundle["text/plain"]
    assert "10.0.0.0/30" in bundle["text/html"]
    assert plan._repr_svg_() is None


def test_tables_are_escaped_and_aligned() -> None:
    table = Table("<b>", ("name", "x"), [("<script>", "1\n2"), ("日本", "\x1b")], "a & b")
    assert Tags(rendered([table])).names <= HARMLESS
    assert "&lt;script&gt;" in rendered([table])
    assert str(table).split("\n") == ["name      x", "<script>  1 2", "日本      \\x1b"]


def test_one_device_with_many_lines_says_how_many_more() -> None:
    box = Box("n0", "box", (Device("eth0", "veth", "up", tuple([f"10.0.0.{n}/32" for n in range(1, 9)])),))
    svg = Picture([box], []).to_svg()
    assert "… 4 more" in svg
    assert "10.0.0.4/32</text>" in svg
    assert "10.0.0.5/32</text>" not in svg


def test_states_differ_in_shape_too() -> None:
    devices = tuple([Device(state, "veth", state) for state in ("up", "down", "no carrier", "planned")])
    svg = Picture([Box("n0", "box", devices)], []).to_svg()
    shapes: set[str] = set()
    for name in ("up", "down", "no-carrier"):
        element = re.findall(rf'<[^<]*class="mark[^"]* {name}"[^>]*>', svg)[0]
        shapes.add(re.sub(r"-?[\d.]+|class=\"[^\"]*\"", "", element))
    assert len(shapes) == 3
