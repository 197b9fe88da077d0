"""The garbage collector is held back while many objects are made, and is afterwards what it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from netkit import Namespace, Scope
from netkit._system.collector import collector_paused
from netkit.testing import FakeKernel


@pytest.fixture(params=[True, False])
def was_on(request: pytest.FixtureRequest) -> Iterator[bool]:
    (gc.enable if request.param else gc.disable)()
    yield request.param
    gc.enable()


def test_it_is_what_it_was(was_on: bool) -> None:
    with collector_paused(), collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() is was_on


def test_also_after_an_exception(was_on: bool) -> None:
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled() is was_on


def test_several_are_created_without_a_collection(was_on: bool) -> None:
    seen: list[bool] = []
    with FakeKernel() as kernel, Scope() as scope:
        kernel.before(1, lambda: seen.append(gc.isenabled()))
        scope.own(Namespace(), Namespace())
        assert seen == [False]
        assert gc.isenabled() is was_on
