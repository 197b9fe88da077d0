"""`python -m benchmarks.contestants NAME TASK`: serves the harness on stdin and stdout."""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..isolate import require_isolated
from . import Crowd, Demo, Operator, Publisher, Reader, Runner, Star

Reply = dict[str, object]
Verbs = dict[str, Callable[..., Reply]]


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def used() -> tuple[float, float]:
    """Processor seconds of this process and of those it has waited for: by themselves, in the kernel."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime for usage in usages), sum(usage.ru_stime for usage in usages)


def spent(work: Callable[[], object]) -> Reply:
    """What `work` took, by the clock and of the processors."""
    user_before, system_before = used()
    seconds = timed(work)
    user, system = used()
    own = user - user_before
    return {"seconds": seconds, "cpu": own + system - system_before, "user": own}


def demo_verbs(demo: Demo) -> Verbs:
    """build, teardown, namespaces."""
    return {
        "build": lambda: spent(demo.build),
        "teardown": lambda: spent(demo.teardown),
        "namespaces": lambda: dict(demo.namespaces()),
    }


def usage() -> Reply:
    """What this process holds: bytes resident and traced, descriptors, threads, children."""
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "resident": resident,
        "traced": tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "children": len(children),
    }


def star_verbs(star: Star) -> Verbs:
    """hub, present_hub, star, unstar, place, usage."""
    return {
        "hub": lambda: {"path": star.hub()} if star.survives else {},
        "present_hub": lambda: {"path": star.hub()},
        "star": lambda size: spent(lambda: star.build(int(size))),
        "unstar": lambda: spent(star.teardown),
        "place": lambda container: {"path": star.place(int(container))},
        "usage": usage,
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


def operation_verbs(operator: Operator) -> Verbs:
    """operate, address, route."""

    def address(count: str) -> Reply:
        addresses = [f"10.99.{number // 256}.{number % 256}/32" for number in range(int(count))]
        began = time.perf_counter()
        for each in addresses:
            operator.add_address(each)
        seconds = time.perf_counter() - began
        for each in addresses:
            operator.remove_address(each)
        return {"seconds": seconds / int(count)}

    def route(network: str, count: str) -> Reply:
        began = time.perf_counter()
        for _ in range(int(count)):
            operator.route(f"{network}/24")
        return {"seconds": (time.perf_counter() - began) / int(count)}

    return {
        "operate": lambda name, index: {"seconds": timed(lambda: operator.open(name, int(index)))},
        "address": address,
        "route": route,
    }


def ports_verbs(publisher: Publisher) -> Verbs:
    """ports, publish, list, more, single, unpublish."""

    def publish(count: str) -> Reply:
        mappings = publisher.prepare(int(count))
        return spent(lambda: publisher.publish(mappings))

    def read() -> Reply:
        began = time.perf_counter()
        count = publisher.list()
        return {"seconds": time.perf_counter() - began, "count": count}

    def more(first: str, count: str) -> Reply:
        numbers = range(int(first), int(first) + int(count))
        began = time.perf_counter()
        for number in numbers:
            publisher.add(number)
        seconds = time.perf_counter() - began
        for number in numbers:
            publisher.remove(number)
        return {"seconds": seconds / int(count)}

    def single(first: str, count: str) -> Reply:
        numbers = range(int(first), int(first) + int(count))
        began = time.perf_counter()
        for number in numbers:
            publisher.add(number)
        return {"seconds": time.perf_counter() - began}

    return {
        "ports": lambda name: {"seconds": timed(lambda: publisher.open(name))},
        "publish": publish,
        "list": read,
        "more": more,
        "single": single,
        "unpublish": lambda: spent(publisher.unpublish),
    }


def many_verbs(crowd: Crowd) -> Verbs:
    """limit, many."""

    def limit(what: str, value: str) -> Reply:
        crowd.limit(what, int(value))
        return {}

    return {"limit": limit, "many": lambda count: crowd.many(int(count))}


def command_verbs(runner: Runner) -> Verbs:
    """open, run."""

    def run(count: str) -> Reply:
        began = time.perf_counter()
        for _ in range(int(count)):
            runner.run()
        return {"seconds": (time.perf_counter() - began) / int(count)}

    return {"open": lambda name: {"seconds": timed(lambda: runner.open(name))}, "run": run}


VERBS: dict[str, Callable[[Any], Verbs]] = {
    "demo": lambda module: demo_verbs(module.Demo()),
    "read": lambda module: read_verbs(module.Reader()),
    "ports": lambda module: ports_verbs(module.Publisher()),
    "operations": lambda module: operation_verbs(module.Operator()),
    "many": lambda module: many_verbs(module.Crowd()),
    "command": lambda module: command_verbs(module.Runner()),
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
