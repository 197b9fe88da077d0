"""Ctrl-C at random moments, other programs that meddle, many cycles, many processes.

Each runs as a program in namespaces of its own. `make soak` does all in full, the suite a tenth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.growth import OBJECTS
from tests.harness.neighbours import BUILDERS
from tests.harness.patience import LONG
from tests.harness.programs import program
from tests.harness.tools import needs

pytestmark = [pytest.mark.kernel, pytest.mark.slow, needs("ip", "nft", "iptables-legacy", "conntrack")]
Count = Callable[..., None]


@pytest.mark.parametrize("how", ["once", "again"])
def test_F03_a_storm_of_interrupts(how: str, seed: int, soak: bool, count: Count) -> None:
    """Afterwards the caller is in its own namespace, nothing is left, no thread or file is more."""
    rounds = 500 if soak else 50
    found = program("storm", rounds, seed, how, timeout=10 * LONG)
    count(
        f"Ctrl-C storm, {how}", rounds=rounds, interrupted=found["interrupted"],
        differences=len(found["left"]),
    )  # fmt: skip
    assert found["left"] == []
    assert found["interrupted"] > rounds / 2


def test_neighbours_that_meddle(seed: int, soak: bool, count: Count) -> None:
    """Eight builders with the same names; others delete, rename, move, flush and reload meanwhile."""
    seconds = 60 if soak else 6
    found = program("neighbours", seconds, seed)
    came = sum((Counter(each["came"]) for each in found["told"]), Counter[str]())
    unclear = [text for each in found["told"] for text in each["unclear"]]
    count(
        "Neighbours", builders=BUILDERS, built=came["built"], refused=came.total() - came["built"],
        meddled=sum(found["meddled"][0].values()), reloads=found["meddled"][1]["reloads"],
        unclear=len(unclear), differences=len(found["left"]),
    )  # fmt: skip
    assert unclear == []
    assert found["left"] == []
    assert set(found["statuses"]) == {0}
    assert came["built"] >= BUILDERS
    assert sum(found["meddled"][0].values()) >= (seconds if soak else 1)


@pytest.mark.parametrize("part", range(3))
def test_no_growth(part: int, soak: bool, count: Count) -> None:
    """Descriptors, threads, memory, processes, tracked connections and kernel objects are flat."""
    cycles = 2000 if soak else 200
    names = list(OBJECTS)[part::3]
    with ThreadPoolExecutor(len(names)) as pool:  # most of it is waiting for the kernel
        each = pool.map(lambda name: program("growth", name, cycles, timeout=20 * LONG), names)
        found = dict(zip(names, each, strict=True))
    grown = {name: result["grown"] for name, result in found.items() if result["grown"]}
    count(
        "No growth", objects=len(names), cycles=cycles * len(names), differences=len(grown),
        most_kB=float(max(result["memory"] for result in found.values())),
    )  # fmt: skip
    assert grown == {}


def test_many_processes_that_want_the_same(soak: bool, count: Count) -> None:
    """Each gets its result or a clear error; none hangs."""
    processes = 200 if soak else 20
    found = program("contention", processes)
    came = {name: Counter(results) for name, results in found["came"].items()}
    done = sum(results["done"] for results in came.values())
    told = sum(results.total() for results in came.values())
    count(
        "Shared resources", processes=processes, done=done, refused=told - done,
        unclear=len(found["unclear"]), hung=found["hung"], differences=len(found["left"]),
    )  # fmt: skip
    assert (found["unclear"], found["hung"], found["left"]) == ([], 0, [])
    assert told == processes
    for shared in ("own_name", "sysctl", "iptables"):  # these do not exclude each other
        assert set(came[shared]) == {"done"}
    assert all(results["done"] for results in came.values())
    assert all(set(results) <= {"done", "ExistsError"} for results in came.values())
