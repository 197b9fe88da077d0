"""The star's results: tables, claims, and how the cost of a container grows with their number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .harness import ratio
from .report import Claim, Figures, Result

BUILD, TEARDOWN, FASTER, GROWTH = 1.1, 1.2, 20, 2.0
GROWN = 100  # times as many, from which on one can speak of growth
# What is compared with which floor: objects leave a namespace ready for IPv6, a plan without it does not.
FLOORS = {"netkit Topology": "floor", "netkit": "floor, IPv6 too"}
# Peers by who knows that links go by group, or does not mind when names are free.
EXPERT = ("Go, dropping", "ip -batch, group", "pyroute2, group")


@dataclass(frozen=True)
class Sample:
    """One build and the teardown that went with it: seconds by the clock and of the processors."""

    build: float
    build_cpu: float
    build_user: float  # of it outside the kernel
    teardown: float
    teardown_cpu: float

    @property
    def whole(self) -> float:
        """Both."""
        return self.build + self.teardown


def _times(samples: Mapping[str, Sequence[Sample]], what: str) -> dict[str, list[float]]:
    return {name: [getattr(sample, what) for sample in played] for name, played in samples.items()}


def tables(size: int, samples: Mapping[str, Sequence[Sample]], failed: dict[str, str]) -> Iterator[Result]:
    build, cpu, down = (_times(samples, what) for what in ("build", "build_cpu", "teardown"))
    claimed = size in (100, 1000)
    phases = (
        ("build", build, _claims(build, BUILD, "builds it") if claimed else []),
        (
            "build, processor time",
            cpu,
            _claims(cpu, BUILD, "builds it, in processor time,") if claimed else [],
        ),
        ("teardown until the names are free", down, _teardown_claims(size, down) if claimed else []),
    )
    for phase, times, claims in phases:
        each = ", ".join(f"{name} {median(values) / size * 1e3:.2f}" for name, values in times.items())
        yield Result(
            f"star of {size}: {phase}",
            times,
            failed,
            base="floor",
            claims=claims,
            notes=[
                f"per container, median ms: {each}",
                *_few(times),
                *_more(phase, size, samples, times),
            ],
            extra={"claim": "star", "size": size, "phase": phase},
        )


def _few(times: Mapping[str, Sequence[float]]) -> list[str]:
    most = max(map(len, times.values()), default=0)
    short = [f"{name} {len(values)}" for name, values in times.items() if len(values) < most]
    return [f"rounds: {most}; of the slow: {', '.join(short)}"] if short else []


def _claims(times: Mapping[str, Sequence[float]], bound: float, does: str) -> list[Claim]:
    return [
        Claim(f"{name} {does} in at most {bound} times the {floor}", ratio(times, name, floor), bound)
        for name, floor in FLOORS.items()
        if name in times
    ]


def _teardown_claims(size: int, times: Mapping[str, Sequence[float]]) -> list[Claim]:
    # A topology's hub goes as well, so that no names have to be free.
    claims = _claims({name: times[name] for name in times if "Topology" not in name}, TEARDOWN, "removes it")
    if size == 1000 and "netkit" in times:
        usual = [name for name in times if is_peer(name) and name not in EXPERT]
        for least, who in sorted((ratio(times, name, "netkit") or 0, name) for name in usual)[:1]:
            text = f"netkit removes it at least {FASTER} times faster than any peer (the fastest: {who})"
            claims.append(Claim(text, least, FASTER, at_most=False))
    return claims


def _more(
    phase: str, size: int, samples: Mapping[str, Sequence[Sample]], times: Mapping[str, Sequence[float]]
) -> list[str]:
    if "teardown" in phase:
        return _experts(times)
    if "processor" not in phase:
        return []
    user = _times(samples, "build_user")
    listed = (f"{name} {median(values) / size * 1e3:.3f}" for name, values in user.items())
    return [f"of it outside the kernel: {', '.join(listed)}"]


def _experts(times: Mapping[str, Sequence[float]]) -> list[str]:
    """What the same peers take by who knows them best: no claim, but not to be hidden."""
    if "netkit" not in times:
        return []
    listed = [f"{name} {ratio(times, name, 'netkit'):.2f}" for name in EXPERT if name in times]
    return [f"peers at their best, times netkit's: {', '.join(listed)}"] if listed else []


def is_floor(name: str) -> bool:
    """The C program, in whatever variant."""
    return name.startswith("floor")


def is_claimed(name: str) -> bool:
    """Plays all rounds, however long they take."""
    return is_floor(name) or name in FLOORS


def is_peer(name: str) -> bool:
    """Neither the floor nor netkit."""
    return not is_floor(name) and not name.startswith("netkit")


def growth(played: Mapping[int, Mapping[str, Sequence[Sample]]]) -> Iterator[Figures]:
    """Not rounds but sizes: what a container costs at each, and how that grows."""
    sizes = sorted(played)
    if not sizes or sizes[-1] < GROWN * sizes[0]:
        return
    first, last = sizes[0], sizes[-1]
    both = [name for name in played[first] if all(name in played[size] for size in sizes)]
    grown = {name: _cost(played[last][name], last) / _cost(played[first][name], first) for name in both}
    rows = {name: [*(_cost(played[size][name], size) * 1e3 for size in sizes), grown[name]] for name in both}
    yield Figures(
        f"star, growth: what the build of a container costs, of {first} to {last}",
        [*(f"ms at {size}" for size in sizes), f"{last} by {first}"],
        rows,
        {},
        claims=[
            Claim(
                f"{name}: a container at {last} costs less than {GROWTH:.0f} times one at {first}"
                f" (the floor's, which is the kernel's own growth: {grown.get(floor, math.nan):.2f})",
                grown[name],
                GROWTH,
            )
            for name, floor in FLOORS.items()
            if name in grown
        ],
        extra={"claim": "star", "phase": f"growth from {first} to {last}", "sizes": sizes, "growth": grown},
    )


def _cost(samples: Sequence[Sample], size: int) -> float:
    return median(sample.build for sample in samples) / size
