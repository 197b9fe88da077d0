"""Contestants that are one process each and work in one named namespace, made before and not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from . import peers
from .harness import Child, Setting, Unavailable, interleave

Times = dict[str, list[float]]


class Task:
    """What is asked of each: its module is `NAME_task`, and `verb` opens the namespace.

    `{module}` in the namespace's name gives each one of its own.
    """

    def __init__(self, setting: Setting, task: str, namespace: str, verb: str, *words: object) -> None:
        self.setting, self.task, self.namespace = setting, task, namespace
        self.opening = (verb, words)

    def start(self, module: str) -> Child:
        """A contestant's process, ready to work. The floor and Go want a path, the others a name."""
        compiled = {"floor": lambda: str(self.setting.floor), "go": lambda: str(peers.go_program())}
        verb, words = self.opening
        where = self.namespace.format(module=module)
        if module in compiled:
            child, where = Child([compiled[module]()]), f"/run/netns/{where}"
        else:
            command = [sys.executable, "-m", "benchmarks.contestants", module, self.task]
            child = Child(command)
        try:
            child.ask(verb, where, *words)
        except Unavailable:
            child.close()
            raise
        return child

    def play(
        self, table: Mapping[str, str], base: str, measure: Callable[[Child], float]
    ) -> tuple[Times, dict[str, str]]:
        """Seconds of those of the table (title: module) that are wanted, and of the base.

        Each finds the machine idle.
        """
        children: dict[str, Child] = {}
        settler = Child([str(self.setting.floor)])
        failed: dict[str, str] = {}
        try:
            for name, module in table.items():
                try:
                    if name == base or self.setting.wanted(name):
                        children[name] = self.start(module)
                except Unavailable as reason:
                    failed[name] = str(reason)
            measures = {name: _bind(measure, child) for name, child in children.items()}
            times, dropped = interleave(measures, self.setting.rounds, between=lambda: settler.ask("settle"))
        finally:
            settler.close()
            for child in children.values():
                child.close()
        return times, {**failed, **dropped}


def _bind(measure: Callable[[Child], float], child: Child) -> Callable[[], float]:
    return lambda: measure(child)
