"""Fixtures with pyroute2, as its documentation shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pyroute2 import NetNS
from pyroute2 import netns as names


def _open(name: str) -> NetNS:
    names.create(name)
    opened = NetNS(name)
    opened.link("set", index=1, state="up")
    return opened


def _end(name: str, opened: NetNS) -> None:
    opened.close()
    names.remove(name)


@pytest.fixture
def netns(number: int) -> Iterator[NetNS]:
    name = f"bench-{os.getpid()}-{number}"
    opened = _open(name)
    yield opened
    _end(name, opened)


@pytest.fixture
def veth(number: int) -> Iterator[tuple[NetNS, NetNS]]:
    called = [f"bench-{os.getpid()}-{number}{end}" for end in "ab"]
    near, far = (_open(name) for name in called)
    near.link("add", ifname="eth0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": called[1]})
    for opened, host in ((near, 1), (far, 2)):
        index = opened.link_lookup(ifname="eth0")[0]
        opened.addr("add", index=index, address=f"192.0.2.{host}", prefixlen=24)
        opened.addr("add", index=index, address=f"2001:db8::{host}", prefixlen=64)
        opened.link("set", index=index, state="up")
    yield near, far
    for name, opened in zip(called, (near, far), strict=True):
        _end(name, opened)


def test_netns(netns: NetNS) -> None:
    assert netns


def test_veth(veth: tuple[NetNS, NetNS]) -> None:
    assert veth
