"""Claim: 10 000 namespaces at once work, or stop with an error that names the limit, everything undone.

Memory is no scene: the kernel has no limit of its own for it, and where a control group has one the
process is killed, and its namespaces with it. So this asks for free memory before it begins.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .harness import Child, Setting, Unavailable
from .report import Claim, Figures

SIZE = 10_000
ENOUGH = 600.0  # seconds that an answer may take
BYTES_EACH = 250_000  # of kernel memory a namespace, generously; measured in memory.py
SPARE_BYTES = 2 << 30  # left for the machine
DESCRIPTORS_EACH, SPARE_DESCRIPTORS = 2, 100
TRIES = 5
COLUMNS = ("made", "build s", "drop s", "again", "descriptors left")


@dataclass(frozen=True)
class Scene:
    """So many, under a limit, and the words by which an error has to name it; none: it has to work.

    `rootless`: in a user namespace of its own, whose sysctl is nobody else's.
    """

    name: str
    size: int
    limit: tuple[str, int]
    words: tuple[str, ...] = ()
    rootless: bool = False


def scenes(size: int) -> list[Scene]:
    """Two or three that stop and one that works: as many as there may be descriptors for, two each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DESCRIPTORS_EACH * size + SPARE_DESCRIPTORS
    few = [
        Scene("RLIMIT_NOFILE 1024", size, ("descriptors", 1024), ("RLIMIT_NOFILE",)),
        Scene("user.max_net_namespaces 200", size, ("namespaces", 200), ("user.max_net_namespaces",), True),
    ]
    if needed <= hard:
        return [*few, Scene(f"{size} at once", size, ("descriptors", needed))]
    fewer = (hard - SPARE_DESCRIPTORS) // DESCRIPTORS_EACH
    return [
        *few,
        Scene(f"RLIMIT_NOFILE {hard}, which is all", size, ("descriptors", hard), ("RLIMIT_NOFILE",)),
        Scene(f"{fewer} at once, which that allows", fewer, ("descriptors", hard)),
    ]


def _available() -> int:
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _play(scene: Scene, judge: Child) -> tuple[list[float], str]:
    """Make them, let them go; then half as many as there were, which works only if they really went."""
    if scene.words and scene.size * DESCRIPTORS_EACH <= scene.limit[1]:
        raise Unavailable(f"{scene.size} do not reach this limit")
    needed = min(scene.size, scene.limit[1]) * BYTES_EACH + SPARE_BYTES
    if _available() < needed:
        raise Unavailable(f"{scene.size} namespaces want {needed >> 20} MB of memory to be free")
    prefix = ["unshare", "--user", "--map-root-user", "--net"] if scene.rootless else []
    child = Child([*prefix, sys.executable, "-m", "benchmarks.contestants", "netkit", "many"])
    try:
        child.ask("limit", *scene.limit)
        first = child.ask("many", scene.size, deadline=ENOUGH)
        again = _works_again(child, judge, int(str(first["made"])) // 2)
    finally:
        child.close()
    numbers = [float(str(first[what])) for what in ("made", "up", "down", "kept")]
    return [*numbers[:3], float(again), numbers[3]], str(first["refusal"])


def _works_again(child: Child, judge: Child, count: int) -> bool:
    """The kernel lets go of a namespace some time after its last descriptor is closed."""
    made = -1
    for _ in range(TRIES):
        judge.ask("settle", deadline=ENOUGH)
        if made == count:
            return True
        made = int(str(child.ask("many", count, deadline=ENOUGH)["made"]))
    return made == count


def _claims(scene: Scene, row: list[float], refusal: str) -> Iterator[Claim]:
    made, _, _, again, left = row
    if scene.words:
        named = made < scene.size and any(word in refusal for word in scene.words)
        yield Claim.fact(f"{scene.name}: the error names the limit", named)
    else:
        yield Claim(f"{scene.name}: all are there", made, scene.size, at_most=False)
    yield Claim.fact(f"{scene.name}: all undone, and half as many work again", bool(again and not left))


def run(setting: Setting) -> list[Figures]:
    """Each scene in a process of its own; the machine's limits stay as they are."""
    size = (setting.sizes or [SIZE])[0]
    rows: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    claims: list[Claim] = []
    notes: list[str] = []
    judge = Child([str(setting.floor)])
    try:
        for scene in scenes(size):
            try:
                row, refusal = _play(scene, judge)
            except Unavailable as reason:
                failed[scene.name] = str(reason)
                continue
            rows[scene.name] = row
            claims += _claims(scene, row, refusal)
            notes.append(f"{scene.name}: {refusal or 'no refusal'}")
    finally:
        judge.close()
    title = f"many: {size} namespaces at once"
    return [Figures(title, COLUMNS, rows, failed, claims, notes, extra={"claim": "many", "size": size})]
