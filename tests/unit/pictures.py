"""Pictures for the property tests of what draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from netkit._display.model import Box, Device, End, State, Wire
from netkit._display.picture import Picture

HOSTILE = ['"><script>alert(1)</script>', "\x1b[31mred\x07", "]]>&amp;<!--", "\u202egnp", "\ud800x"]
# What people call things, and what somebody would call them who means no good.
NAMES = st.one_of(
    st.sampled_from(["eth0", "br-1234", "veth0a1b2c", "box", "日本", "a namespace with a long name, really"]),
    st.sampled_from(HOSTILE),
    st.text(min_size=1, max_size=8),
)
STATES: st.SearchStrategy[State] = st.sampled_from(["up", "down", "no carrier", "planned"])
LINES = st.sampled_from(["default via 10.0.0.1 dev eth0", "x" * 99, *HOSTILE])
TEXTS = st.lists(LINES, max_size=7).map(tuple)


@st.composite
def boxes(draw: st.DrawFn, key: str) -> Box:
    """A namespace with some devices, perhaps ports of each other."""
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    devices = [
        Device(
            name,
            draw(st.sampled_from(["veth", "bridge", None, "vlan on eth0"])),
            draw(STATES),
            draw(st.lists(st.sampled_from(["10.0.0.1/24", "fd00:1:2:3:4:5:6:7/128"]), max_size=7).map(tuple)),
            draw(st.one_of(st.none(), st.sampled_from(names))),
            draw(st.one_of(st.none(), NAMES)),
        )
        for name in names
    ]
    return Box(
        key, draw(NAMES), tuple(devices), draw(TEXTS), draw(TEXTS), draw(TEXTS), draw(TEXTS),
        draw(st.booleans()), draw(st.sampled_from(["", "deleted"])),
    )  # fmt: skip


@st.composite
def pictures(draw: st.DrawFn, most: int = 12) -> Picture:
    """Any number of boxes, wired in any way: each device has one wire at most."""
    drawn = [draw(boxes(f"n{number}")) for number in range(draw(st.integers(0, most)))]
    ends = draw(st.permutations([End(box.key, device.name) for box in drawn for device in box.devices]))
    count = draw(st.integers(0, len(ends) // 2))
    pairs = zip(ends[:count], ends[count : 2 * count], strict=True)
    return Picture(drawn, [Wire(near, far, draw(STATES)) for near, far in pairs], draw(NAMES), draw(NAMES))
