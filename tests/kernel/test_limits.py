"""Out of descriptors: said so by name, nothing left, and everything can still be undone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from subprocess import Popen

import pytest

from netkit import Bridge, KernelError, Namespace, NatRule, RouteTable, Scope, VethPair
from tests.harness import place
from tests.harness.oracle import ip

FEWEST = 3  # poll(2) takes no more than this many, so 0 would stop programs for another reason


@contextmanager
def descriptors(free: int) -> Generator[None]:
    """Room for so many more open files."""
    before = getrlimit(RLIMIT_NOFILE)
    held: list[int] = []
    highest = max(map(int, os.listdir("/proc/self/fd")))
    setrlimit(RLIMIT_NOFILE, (highest + 1 + free, before[1]))
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        for _ in range(free):
            os.close(held.pop())
    try:
        yield
    finally:
        for fd in held:
            os.close(fd)
        setrlimit(RLIMIT_NOFILE, before)


ASKED: dict[str, Callable[[Namespace], object]] = {
    "create": lambda ns: Namespace().create(),
    "create with a name": lambda ns: Namespace("few").create(),
    "create with a mount": lambda ns: Namespace("few", persistent=True).create(),
    "current": lambda ns: Namespace.current(),
    "open": lambda ns: Namespace.open("limits"),
    "from_fd": lambda ns: Namespace.from_fd(ns.fileno()),
    "from_pid": lambda ns: Namespace.from_pid(os.getpid()),
    "socket": lambda ns: ns.socket(),
    "call": lambda ns: ns.call(int),
    "ping": lambda ns: ns.ping("127.0.0.1"),
    "sysctl": lambda ns: ns.sysctl["net.ipv4.ip_forward"],
    "override": lambda ns: ns.sysctl.override("net.ipv4.ip_forward", 1).create(),
    "snapshot": lambda ns: ns.snapshot(),
}


@pytest.mark.parametrize("what", ASKED)
def test_the_limit_is_named(what: str) -> None:
    with Namespace("warm") as warm, Namespace.open("warm"), warm.sysctl.override("net.ipv4.ip_forward", 1):
        warm.snapshot()
        warm.ping("127.0.0.1")  # importing a module needs a descriptor too
    with Namespace("limits") as ns:
        if place.ROOTLESS and what == "sysctl":  # read by the broker, which has room
            with descriptors(0):
                assert ASKED[what](ns) == "0"
            return
        with descriptors(0), pytest.raises(KernelError, match=r"EMFILE.*RLIMIT_NOFILE") as caught:
            ASKED[what](ns)
        assert caught.value.errno == errno.EMFILE
        assert place.names() == ["limits"]


def build() -> None:
    with (
        Namespace() as red,
        Namespace() as blue,
        VethPair(red, blue, name="eth0", peer_name="eth0", address="10.0.0.1/24"),
    ):
        red.socket().close()


HARD = """
from resource import RLIMIT_NOFILE, setrlimit
from netkit import KernelError, Namespace, Scope
setrlimit(RLIMIT_NOFILE, (500, 1000))
with Scope() as lab:
    try:
        lab.own(*[Namespace() for _ in range(500)], *[Namespace(f"box{n}") for n in range(10)])
    except KernelError as problem:
        print(problem)
    lab.own(*[Namespace() for _ in range(300)])
"""


def test_more_than_the_hard_limit_allows_is_refused_before_one_is_made() -> None:
    done = subprocess.run([sys.executable, "-c", HARD], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot create 510 network namespaces: Too many open files (EMFILE).")
    assert "takes 1020 more open files, and this process may have 1000 in all (RLIMIT_NOFILE" in done.stdout


@pytest.mark.parametrize("free", range(3))
def test_a_build_that_runs_out_leaves_nothing(free: int) -> None:
    with descriptors(free), pytest.raises(KernelError, match="EMFILE"):
        build()


def test_several_at_once_that_run_out_are_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    """On each of the threads that make them; nothing of it is printed."""
    with Scope() as lab:
        lab.own(Namespace(), Namespace())  # importing a module needs a descriptor too
        for free in range(4):
            with descriptors(free), pytest.raises(KernelError, match="EMFILE"):
                lab.own(*[Namespace() for _ in range(8)])
    assert capfd.readouterr().err == ""


def test_two_namespaces_and_a_pair_need_few() -> None:
    with descriptors(7):
        build()


def test_undoing_needs_none(host: Namespace) -> None:
    limit = getrlimit(RLIMIT_NOFILE)
    links, routes = ip(host, "link"), ip(host, "route", "show", "table", "all")
    try:
        sleeper, now = build_and_undo(host, limit)
    finally:
        setrlimit(RLIMIT_NOFILE, limit)
    assert now == (FEWEST, limit[1])  # the program's own limit holds again
    assert sleeper.wait() < 0
    assert place.names() == []
    assert ip(host, "link") == links
    assert ip(host, "route", "show", "table", "all") == routes
    assert host.sysctl["net.ipv4.ip_forward"] == "0"


def build_and_undo(host: Namespace, limit: tuple[int, int]) -> tuple[Popen[bytes], tuple[int, int]]:
    with Scope() as lab:
        named, mounted = (
            lab.own(Namespace("named")),
            lab.own(Namespace("mounted", persistent=not place.ROOTLESS)),
        )
        sleeper = named.popen(["sleep", "60"])
        bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(named, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
        lab.own(VethPair(host, mounted, name="v1", peer_name="eth0"))
        lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
        lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24"))
        lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24", backend="iptables"))
        lab.own(RouteTable(host, 100)).add("10.9.0.0/16", type="blackhole")
        setrlimit(RLIMIT_NOFILE, (FEWEST, limit[1]))
    return sleeper, getrlimit(RLIMIT_NOFILE)
