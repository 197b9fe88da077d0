"""`python -m benchmarks.contestants NAME demo|read|star`: serves the harness on stdin and stdout."""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..isolate import require_isolated
from . import Demo, Reader, Star

Reply = dict[str, object]
Verbs = dict[str, Callable[..., Reply]]


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def used() -> float:
    """Processor seconds of this process and of those it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def spent(work: Callable[[], object]) -> Reply:
    """What `work` took, by the clock and of the processors."""
    had = used()
    seconds = timed(work)
    return {"seconds": seconds, "cpu": used() - had}


def demo_verbs(demo: Demo) -> Verbs:
    """build, teardown, namespaces."""
    return {
        "build": lambda: spent(demo.build),
        "teardown": lambda: spent(demo.teardown),
        "namespaces": lambda: dict(demo.namespaces()),
    }


def star_verbs(star: Star) -> Verbs:
    """hub, star, unstar, place."""
    return {
        "hub": lambda: {"path": star.hub()},
        "star": lambda size: spent(lambda: star.build(int(size))),
        "unstar": lambda: spent(star.teardown),
        "place": lambda container: {"path": star.place(int(container))},
    }


def read_verbs(reader: Reader) -> Verbs:
    """open, all, one."""

    def read_all() -> Reply:
        began = time.perf_counter()
        links, addresses = reader.all()
        return {"seconds": time.perf_counter() - began, "links": links, "addresses": addresses}

    def read_one(name: str, count: str) -> Reply:
        began = time.perf_counter()
        for _ in range(int(count)):
            index = reader.one(name)
        return {"seconds": (time.perf_counter() - began) / int(count), "index": index}

    return {
        "open": lambda name: {"seconds": timed(lambda: reader.open(name))},
        "all": read_all,
        "one": read_one,
    }


VERBS: dict[str, Callable[[Any], Verbs]] = {
    "demo": lambda module: demo_verbs(module.Demo()),
    "read": lambda module: read_verbs(module.Reader()),
    "star": lambda module: star_verbs(module.Star()),
}


def answer(verbs: Verbs, line: str) -> Reply:
    """One command's reply; whatever went wrong is the reply too, and the harness shows it."""
    verb, *arguments = line.split()
    try:
        return verbs[verb](*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main(name: str, task: str, lines: Iterator[str]) -> None:
    """Imports are done, and not timed, before the first command."""
    verbs: Verbs = {}
    broken: Reply | None = None
    try:
        module = importlib.import_module(f"{__package__}.{name}_{task}")
        verbs = VERBS[task](module)
    except Exception as error:
        broken = {"error": f"{type(error).__name__}: {error}"}
    for line in lines:
        print(json.dumps(broken or answer(verbs, line)), flush=True)


if __name__ == "__main__":
    require_isolated()
    main(sys.argv[1], sys.argv[2], iter(sys.stdin))
