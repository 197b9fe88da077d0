"""Delay, loss and rate of a link: a netem or tbf queueing discipline, set through pyroute2."""

from __future__ import annotations

import re

from netkit._spec import numbers
from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._link import Link

_TIMES = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6}
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}  # tc(8), "PARAMETERS"
_QUEUE = 0.05  # seconds of traffic that wait before a tbf drops
_BURST = 0.01  # seconds of traffic at once: a hundred times a second is often enough for the kernel's timers
_LEAST_BURST = 1 << 16  # bytes: a segment as large as GSO makes them has to fit, or is never sent


class Shape:
    """What a `wan` does to packets; checked, and not yet applied."""

    def __init__(self, delay: float | str, jitter: float | str, loss: float, rate: int | str | None) -> None:
        self.delay = _seconds(delay, "delay")
        self.jitter = _seconds(jitter, "jitter")
        self.loss = _share(loss)
        self.rate = None if rate is None else _bits(rate)
        if self.jitter and not self.delay:
            raise SpecError("jitter is how much the delay varies: give a delay, too")

    @property
    def discipline(self) -> str | None:
        """The kernel's queueing discipline that does it."""
        if self.delay or self.loss:
            return "netem"
        return None if self.rate is None else "tbf"

    def check(self, strict: bool) -> None:
        """Skip the test, or with ``strict`` fail it, if the kernel can't."""
        from netkit._fixtures.requirements import missing, refuse

        if self.discipline is not None:
            reason = missing(self.discipline)
            if reason is not None:
                refuse(reason, strict)

    def apply(self, link: Link) -> None:
        """On what leaves by the link."""
        if self.discipline is None:
            return
        with link.netns.pyroute2() as routing:
            anything: Any = routing  # its types say too little
            anything.tc("add", self.discipline, link.ifindex, handle="1:", **self._parameters())

    def _parameters(self) -> dict[str, object]:
        if self.discipline == "netem":
            shared: dict[str, object] = {
                "delay": round(self.delay * 1e6),
                "jitter": round(self.jitter * 1e6),
                "loss": self.loss * 100,
            }
            return shared if self.rate is None else {**shared, "rate": f"{self.rate}bit"}
        assert self.rate is not None
        burst = max(round(self.rate / 8 * _BURST), _LEAST_BURST)
        return {"rate": f"{self.rate}bit", "burst": burst, "limit": round(self.rate / 8 * _QUEUE) + burst}


def _seconds(value: object, what: str) -> float:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value)
        if found is None or found[2] not in _TIMES:
            raise SpecError(f"{what} {shown(value)} is no time: give seconds, or text such as '20ms'")
        value = float(found[1]) * _TIMES[found[2]]
    return numbers.seconds(value, what, 0.0, 4000.0)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"loss {shown(value)} is {type_of(value)}: give a share, 0.0 to 1.0")
    if not 0 <= value <= 1:
        raise SpecError(f"loss {shown(value)} is out of range: a share, 0.0 to 1.0; 0.01 is one in a hundred")
    return value


def _bits(value: object) -> int:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value.lower())
        if found is None or found[2] not in _RATES:
            raise SpecError(f"rate {shown(value)} is no rate: give bits per second, or text such as '10mbit'")
        value = round(float(found[1]) * _RATES[found[2]])
    return numbers.integer(value, "rate", 8, 8 * numbers.U32)
