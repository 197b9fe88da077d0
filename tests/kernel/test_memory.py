"""What a container costs this process: its objects, and what the build of many takes for a while."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from netkit import Bridge, Namespace, Scope, Topology

MANY, FEW = 500, 10
MOST = 5 * 1024  # bytes a container, asked for by those who hold thousands


@contextmanager
def star(size: int) -> Iterator[Scope]:
    """The star of the benchmarks, by objects."""
    with Scope() as lab:
        hub, boxes = Namespace(), [Namespace() for _ in range(size)]
        bridge = Bridge(hub, "br0", address="10.64.0.1/16")
        pairs = [
            bridge.pair(
                box,
                name=f"port{n}",
                peer_address=f"10.64.{1 + n // 250}.{1 + n % 250}/16",
                default_route=True,
            )
            for n, box in enumerate(boxes)
        ]
        lab.own(hub, bridge, *boxes, *pairs)
        yield lab


@pytest.mark.parametrize("build", [star, Topology.star], ids=["objects", "topology"])
def test_a_container_takes_five_kilobytes_while_it_is_built_and_less_afterwards(
    build: Callable[[int], AbstractContextManager[object]],
) -> None:
    with build(FEW):  # what is loaded and remembered once
        pass
    gc.collect()
    tracemalloc.start()
    try:
        with build(MANY):
            standing, most = tracemalloc.get_traced_memory()
            assert most / MANY < MOST, "the process grows by this, and stays so large"
            assert standing / MANY < MOST * 3 / 4
    finally:
        tracemalloc.stop()
