"""Every example in a docstring runs, and prints what it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import netkit

# These are programs of their own, or need libraries that are the user's choice.
NOT_IMPORTED = ("netkit.__main__", "netkit._nat.iptables_")


def examples() -> Iterator[doctest.DocTest]:
    """The docstrings with examples, of every module."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(netkit.__path__, "netkit."):
        if not module.name.startswith(NOT_IMPORTED):
            loaded = importlib.import_module(module.name)
            yield from [each for each in finder.find(loaded) if each.examples]
    yield from [each for each in finder.find(netkit, "netkit") if each.examples]


EXAMPLES = list(examples())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 20


# What outlives the process, or is of processes that have ended: without root there is nothing of the kind.
ABOUT_WHAT_STAYS = ("netkit._gc.gc", "netkit.gc", "netkit._veth.VethPair.open")


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            example, id=example.name, marks=[pytest.mark.capable] if example.name in ABOUT_WHAT_STAYS else []
        )
        for example in EXAMPLES
    ],
)
def test_example(example: doctest.DocTest) -> None:
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append)
    assert tried > 0
    assert failed == 0, "".join(said)
