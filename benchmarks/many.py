"""Claim: 10 000 namespaces at once work, or stop with an error that names the limit, everything undone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .harness import Child, Setting, Unavailable
from .report import Claim, Figures

SIZE = 10_000
ENOUGH = 600.0  # seconds that an answer may take
BYTES_EACH = 250_000  # of kernel memory a namespace, generously; measured in memory.py
SPARE_BYTES = 2 << 30  # left for the machine
SPARE_DESCRIPTORS = 100
TRIES = 5
COLUMNS = ("made", "build s", "drop s", "again", "descriptors left")


@dataclass(frozen=True)
class Scene:
    """A limit, and the words by which an error has to name it. `rootless`: in a user namespace of its own."""

    name: str
    limit: tuple[str, int] | None = None
    words: tuple[str, ...] = ()
    rootless: bool = False


def scenes(size: int) -> list[Scene]:
    """Three that stop and one that works. The last has the descriptors it needs: two each."""
    return [
        Scene("RLIMIT_NOFILE 1024", ("descriptors", 1024), ("RLIMIT_NOFILE", "ulimit", "descriptors")),
        Scene(
            "user.max_net_namespaces 200", ("namespaces", 200), ("user.max_net_namespaces",), rootless=True
        ),
        Scene("RLIMIT_AS, 2 MB more", ("memory", 2), ("emory",)),
        Scene("no limit in the way", ("descriptors", 2 * size + SPARE_DESCRIPTORS)),
    ]


def _available() -> int:
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _play(scene: Scene, judge: Child, size: int) -> tuple[list[float], str]:
    """Make them, let them go; then half as many as there were, which works only if they really went."""
    needed = 0 if scene.words else size * BYTES_EACH + SPARE_BYTES
    if _available() < needed:
        raise Unavailable(f"{size} namespaces want {needed >> 20} MB of memory to be free")
    prefix = ["unshare", "--user", "--map-root-user", "--net"] if scene.rootless else []
    child = Child([*prefix, sys.executable, "-m", "benchmarks.contestants", "netkit", "many"])
    try:
        if scene.limit is not None:
            child.ask("limit", *scene.limit)
        first = child.ask("many", size, deadline=ENOUGH)
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


def _claims(scene: Scene, size: int, row: list[float], refusal: str) -> Iterator[Claim]:
    made, _, _, again, left = row
    if scene.words:
        named = made < size and any(word in refusal for word in scene.words)
        yield Claim(f"{scene.name}: the error names the limit", float(named), 1, at_most=False)
    else:
        yield Claim(f"{scene.name}: {size} at once", made, size, at_most=False)
    yield Claim(
        f"{scene.name}: all undone, and half as many work again", float(again and not left), 1, at_most=False
    )


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
                row, refusal = _play(scene, judge, size)
            except Unavailable as reason:
                failed[scene.name] = str(reason)
                continue
            rows[scene.name] = row
            claims += _claims(scene, size, row, refusal)
            notes.append(f"{scene.name}: {refusal or 'no refusal'}")
    finally:
        judge.close()
    title = f"many: {size} namespaces at once"
    return [Figures(title, COLUMNS, rows, failed, claims, notes, extra={"claim": "many", "size": size})]
