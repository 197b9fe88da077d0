"""Contestants that are one process each and work in one named namespace, made before and not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from . import peers
from .harness import Child, Setting, Unavailable, interleave

Times = dict[str, list[float]]


class Task:
    """What is asked of each: its module is `NAME_task`, and `verb` opens the namespace."""

    def __init__(self, setting: Setting, task: str, namespace: str, verb: str, *words: object) -> None:
        self.setting, self.task, self.namespace = setting, task, namespace
        self.opening = (verb, words)

    def start(self, module: str) -> Child:
        """A contestant's process, ready to work. The floor and Go want a path, the others a name."""
        compiled = {"floor": lambda: str(self.setting.floor), "go": lambda: str(peers.go_program())}
        verb, words = self.opening
        if module in compiled:
            child, where = Child([compiled[module]()]), f"/run/netns/{self.namespace}"
        else:
            command = [sys.executable, "-m", "benchmarks.contestants", module, self.task]
            child, where = Child(command), self.namespace
        try:
            child.ask(verb, where, *words)
        except Unavailable:
            child.close()
            raise
        return child

    def play(
        self, table: Mapping[str, str], base: str, measure: Callable[[Child], float]
    ) -> tuple[Times, dict[str, str]]:
        """Seconds of those of the table (title: module) that are wanted, and of the base."""
        children: dict[str, Child] = {}
        failed: dict[str, str] = {}
        try:
            for name, module in table.items():
                try:
                    if name == base or self.setting.wanted(name):
                        children[name] = self.start(module)
                except Unavailable as reason:
                    failed[name] = str(reason)
            measures = {name: _bind(measure, child) for name, child in children.items()}
            times, dropped = interleave(measures, self.setting.rounds)
        finally:
            for child in children.values():
                child.close()
        return times, {**failed, **dropped}


def _bind(measure: Callable[[Child], float], child: Child) -> Callable[[], float]:
    return lambda: measure(child)
