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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: doctest.DocTest) -> None:
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append)
    assert tried > 0
    assert failed == 0, "".join(said)
