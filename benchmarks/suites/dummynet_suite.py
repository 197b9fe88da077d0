"""pytest-dummynet's fixture, as its documentation shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def netns(dummynet: Any, number: int) -> Iterator[Any]:
    name = f"bench-{os.getpid()}-{number}"
    with dummynet.host() as shell:
        made = shell.netns_add(name=name)
        made.up(interface="lo")
        yield made
        shell.netns_delete(name)


@pytest.fixture
def veth(dummynet: Any, number: int) -> Iterator[tuple[Any, Any]]:
    names = [f"bench-{os.getpid()}-{number}{end}" for end in "ab"]
    ends = [f"v{number}{end}" for end in "ab"]
    with dummynet.host() as shell:
        near, far = (shell.netns_add(name=name) for name in names)
        shell.link_veth_add(p1_name=ends[0], p2_name=ends[1])
        for made, name, end, host in zip((near, far), names, ends, (1, 2), strict=True):
            shell.link_set(namespace=name, interface=end)
            made.up(interface="lo")
            made.addr_add(ip=f"192.0.2.{host}/24", interface=end)
            made.up(interface=end)
        yield near, far
        for name in names:
            shell.netns_delete(name)


def test_netns(netns: Any) -> None:
    assert netns


def test_veth(veth: tuple[Any, Any]) -> None:
    assert veth
