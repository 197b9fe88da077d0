"""`python -m benchmarks.contestants NAME demo|read`: serves the harness on stdin and stdout."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator

from ..isolate import require_isolated
from . import Demo, Reader

Reply = dict[str, object]
Verbs = dict[str, Callable[..., Reply]]


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def demo_verbs(demo: Demo) -> Verbs:
    """build, teardown, namespaces."""
    return {
        "build": lambda: {"seconds": timed(demo.build)},
        "teardown": lambda: {"seconds": timed(demo.teardown)},
        "namespaces": lambda: dict(demo.namespaces()),
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
        verbs = demo_verbs(module.Demo()) if task == "demo" else read_verbs(module.Reader())
    except Exception as error:
        broken = {"error": f"{type(error).__name__}: {error}"}
    for line in lines:
        print(json.dumps(broken or answer(verbs, line)), flush=True)


if __name__ == "__main__":
    require_isolated()
    main(sys.argv[1], sys.argv[2], iter(sys.stdin))
