"""Fixtures as people write them for themselves: commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest


def ip(line: str) -> None:
    """One command."""
    subprocess.run(["ip", *line.split()], check=True)


def name(number: int, end: str = "") -> str:
    """Of a namespace: the same in no other worker."""
    return f"bench-{os.getpid()}-{number}{end}"


@pytest.fixture
def netns(number: int) -> Iterator[str]:
    made = name(number)
    ip(f"netns add {made}")
    ip(f"-n {made} link set lo up")
    yield made
    ip(f"netns del {made}")


@pytest.fixture
def veth(number: int) -> Iterator[tuple[str, str]]:
    near, far = name(number, "a"), name(number, "b")
    for made in (near, far):
        ip(f"netns add {made}")
        ip(f"-n {made} link set lo up")
    ip(f"-n {near} link add eth0 type veth peer name eth0 netns {far}")
    for made, host in ((near, 1), (far, 2)):
        ip(f"-n {made} address add 192.0.2.{host}/24 dev eth0")
        ip(f"-n {made} address add 2001:db8::{host}/64 dev eth0 nodad")
        ip(f"-n {made} link set eth0 up")
    yield near, far
    for made in (near, far):
        ip(f"netns del {made}")


def test_netns(netns: str) -> None:
    assert netns


def test_veth(veth: tuple[str, str]) -> None:
    assert veth
