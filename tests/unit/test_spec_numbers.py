from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._spec import numbers
from netkit.errors import SpecError


@pytest.mark.parametrize(
    ("check", "low", "high"),
    [
        (numbers.port, 1, 65535),
        (numbers.mtu, 68, 65535),
        (numbers.vlan, 1, 4094),
        (numbers.weight, 1, 256),
        (numbers.metric, 0, 2**32 - 1),
        (numbers.priority, 0, 2**32 - 1),
        (numbers.port_cost, 1, 65535),
        (numbers.port_priority, 0, 63),
    ],
)
def test_ranges(check: Callable[[object], int], low: int, high: int) -> None:
    assert check(low) == low
    assert check(high) == high
    for bad in (low - 1, high + 1, True, 1.5, float("nan"), None, "x", "", b"1", [1], 10**5000):
        with pytest.raises(SpecError):
            check(bad)


def test_the_message_names_the_value_and_the_rule() -> None:
    with pytest.raises(SpecError, match=r"^port 70000 is out of range: 1 to 65535$"):
        numbers.port(70000)
    with pytest.raises(SpecError, match=r"^mtu True is a bool: give an int, 68 to 65535$"):
        numbers.mtu(True)


@pytest.mark.parametrize("bad", ["80 ", " 80", "+80", "8_0", "0x50", "http", "８０", "-1", "65536", "0"])
def test_bad_port_texts(bad: str) -> None:
    with pytest.raises(SpecError, match="port"):
        numbers.port(bad)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(80, (80, 80)), ("80", (80, 80)), ("1000-2000", (1000, 2000)), ((1, 2), (1, 2)), (("1", 2), (1, 2))],
)
def test_port_ranges(value: object, wanted: tuple[int, int]) -> None:
    assert numbers.port_range(value) == wanted


@pytest.mark.parametrize(
    "bad", ["2-1", (2, 1), (1,), (1, 2, 3), "1-", "-", "1-2-3", [80, 443], (True, 2), 80.0, None, ""]
)
def test_bad_port_ranges(bad: object) -> None:
    with pytest.raises(SpecError, match="port"):
        numbers.port_range(bad)


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_port_ranges_round_trip(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert numbers.port_range(f"{low}-{high}") == numbers.port_range((low, high)) == (low, high)


def test_bridge_timers_are_centiseconds() -> None:
    assert numbers.bridge_timer(15, "forward_delay", stp=True) == 1500
    assert numbers.bridge_timer(0, "forward_delay") == 0
    assert numbers.bridge_timer(1.5, "hello_time") == 150
    assert numbers.bridge_timer(300, "ageing_time") == 30000
    for bad, what, stp in (
        (1, "forward_delay", True),
        (31, "forward_delay", True),
        (0.5, "hello_time", False),
        (41, "max_age", False),
        (-1, "ageing_time", False),
        (float("nan"), "ageing_time", False),
        (float("inf"), "ageing_time", False),
        ("2", "hello_time", False),
        (True, "hello_time", False),
    ):
        with pytest.raises(SpecError, match=what):
            numbers.bridge_timer(bad, what, stp)
