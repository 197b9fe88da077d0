"""After fork(): the child may not touch what is the parent's, and its end takes nothing along."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from netkit import Bridge, Namespace, NatRule, NotFoundError, RouteTable, Scope, StateError, VethPair
from tests.harness import place
from tests.harness.calls import in_child
from tests.harness.here import HERE, identity
from tests.harness.leaks import _files
from tests.harness.oracle import Events, ip, nft, run_in
from tests.harness.patience import LONG

# Python 3.12 and later warn of every fork beside a thread, and netkit's worker is one.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def refused(*uses: Callable[[], object]) -> None:
    for use in uses:
        with pytest.raises(StateError, match="fork"):
            use()


def test_everything_is_refused_in_a_child(host: Namespace) -> None:
    with Scope() as scope:
        box = scope.own(Namespace("box"))
        pair = scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
        bridge = scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
        table = scope.own(RouteTable(host, 100))
        table.add("10.9.0.0/16", via="10.0.0.2")
        rule = scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
        override = scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        link = host.links["v0"]
        route = host._live_runtime().route

        def child() -> None:
            refused(
                box.fileno, lambda: box.path, lambda: box.exists, lambda: list(box.links),
                lambda: box.run(["true"]),
                lambda: box.popen(["true"]), lambda: box.call(int), box.socket, box.entered, box.pyroute2,
                lambda: box.ping("127.0.0.1"), lambda: box.sysctl["net.ipv4.ip_forward"],
                lambda: list(box.routes),
                lambda: list(box.rules), lambda: list(box.neighbours),
                lambda: host.connect(box, name="a", peer_name="b"),
                box.delete, box.detach, box.create, pair.delete, pair.detach,
                lambda: pair.exists, lambda: pair.link,
                bridge.delete, lambda: bridge.ports, override.delete, lambda: rule.counters, rule.delete,
                lambda: scope.own(Namespace()),
            )  # fmt: skip
            more = (
                lambda: link.mtu,
                link.delete,
                lambda: list(table),
                lambda: table.add("10.8.0.0/16", via="10.0.0.2"),
            )
            for use in more:
                with pytest.raises(StateError):
                    use()
            table.close()  # nothing: it was not opened here
            assert route.closed
            scope.__exit__(None, None, None)
            for each in (box, pair, bridge, table, rule, override):
                each.__exit__(None, None, None)

        in_child(child)
        assert names(host) == ["br0", "lo", "v0"]
        assert nft(host) != []
        assert run_in(host, "sysctl", "-n", "net.ipv4.ip_default_ttl") == "99\n"
        assert ip(host, "route", "show", "table", "100") != []
        assert place.names() == ["box"]
        assert pair.link.mtu == 1500  # the parent's socket has lost no answer
    assert names(host) == ["lo"]
    assert nft(host) == []


def test_a_child_holds_nothing_of_the_parents(host: Namespace) -> None:
    """A descriptor it inherits would keep a namespace, a rule or a lock alive."""
    with Scope() as scope:
        box = scope.own(Namespace("box"))
        scope.own(NatRule.masquerade(box, saddr="10.0.0.0/24", oif="v9"))
        scope.own(box.sysctl.override("net.ipv4.ip_default_ttl", 99))
        held = identity(box.fileno())

        def child() -> None:
            found = _files().values()
            assert f"net:[{held[1]}]" not in found, found
            assert not [each for each in found if "/run/netkit" in each], found

        in_child(child)


def test_F07_what_the_parent_ends_is_gone_while_the_child_lives(host: Namespace) -> None:
    """F07: the child has no socket that keeps the owner table, no descriptor that keeps the namespace."""
    reading, writing = os.pipe()
    scope = Scope().__enter__()
    box = scope.own(Namespace("box"))
    run_in(host, *"ip link add x0 type veth peer name x1 netns box".split())
    scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        with Events(host) as events:
            scope.__exit__(None, None, None)
            events.wait_until(lambda: names(host) == ["lo"])
        assert nft(host) == []
        assert not box.exists
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(pid, 0)


def test_a_child_opens_the_namespace_again(host: Namespace) -> None:
    with Namespace("box"), VethPair(host, host, name="a", peer_name="b"):

        def child() -> None:
            if place.ROOTLESS:  # names, and what they name, are the parent's own
                with pytest.raises(NotFoundError, match="'box'"):
                    Namespace.open("box")
                with Namespace("box") as own:
                    assert own.run(["true"]).returncode == 0
                return
            before = identity(HERE)
            with Namespace.open("box") as again, Namespace() as own:
                assert [item.name for item in again.links] == ["lo"]
                assert again.call(identity, HERE) == identity("/run/netns/box")
                assert again.run(["true"]).returncode == 0
                with VethPair(again, own, name="c", peer_name="d") as pair:
                    assert pair.exists
            assert identity(HERE) == before

        in_child(child)
        with Namespace.open("box") as box:
            assert names(box) == ["lo"]
        assert names(host) == ["a", "b", "lo"]


def test_F11_parent_and_children_read_at_the_same_time(host: Namespace) -> None:
    """F11"""
    with Namespace("box") as box:
        pids = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    with Namespace() if place.ROOTLESS else Namespace.open("box") as again:
                        for _ in range(50):
                            assert [item.name for item in again.links] == ["lo"]
                    status = 0
                finally:
                    os._exit(status)
            pids.append(pid)
        for _ in range(50):
            assert [item.name for item in box.links] == ["lo"]
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4


# Ends of a child that run exit handlers need an interpreter that is not pytest's.
PROGRAM = """
import os, sys, subprocess
from netkit import *

def said(*words):
    return host.run(words, capture_output=True, text=True, check=True).stdout

def child():
    {child}

def check(box, pair):
    assert pair.exists and box.exists
    assert os.stat(box.path).st_ino == os.fstat(box.fileno()).st_ino
    assert "v0" in said("ip", "-br", "link", "show")
    assert "masquerade" in said("nft", "list", "ruleset")
    assert said("sysctl", "-n", "net.ipv4.ip_default_ttl") == "99\\n"
    assert [link.name for link in box.links] == ["lo", "eth0"]
    assert box.run(["true"]).returncode == 0

if __name__ == "__main__":
    host = {host}
    with Scope() as scope:
        box = scope.own(Namespace("forked"))
        pair = scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
        scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0"))
        scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        name = box.path
        {fork}
        check(box, pair)
    assert "v0" not in said("ip", "-br", "link", "show")
    assert said("nft", "list", "ruleset") == ""
    assert said("sysctl", "-n", "net.ipv4.ip_default_ttl") == "64\\n"
    assert not os.path.exists(name)
    print("whole")
"""
HOST = "Namespace().create()" if place.ROOTLESS else "Namespace.current()"
FORK = "pid = os.fork()\n        if pid == 0: child()\n        os.waitpid(pid, 0)"
MULTIPROCESSING = (
    "import multiprocessing; work = multiprocessing.get_context('fork').Process(target=child);"
    " work.start(); work.join(); assert work.exitcode in (0, 1, 3), work.exitcode"
)
ENDS = {
    "_exit": ("os._exit(0)", FORK),
    "sys.exit": ("sys.exit(0)", FORK),
    "exception": ("sys.excepthook = lambda *error: None; raise ValueError", FORK),
    "shutdown": ("import netkit; netkit.shutdown(); sys.exit(0)", FORK),
    "kill": ("os.kill(os.getpid(), 9)", FORK),
    "own things": ("with Scope() as mine: mine.own(Namespace('mine'))\n    sys.exit(0)", FORK),
    "left behind": ("Namespace('mine').create(); sys.exit(0)", FORK),
    "multiprocessing": ("Namespace.open('forked').run(['true'])", MULTIPROCESSING),
    "multiprocessing exit": ("sys.exit(3)", MULTIPROCESSING),
    "exec": ("os.execvp('true', ['true'])", FORK),
    "grandchild": ("os.fork(); sys.exit(0)", FORK),
}


@pytest.mark.parametrize("end", ENDS)
def test_F07_a_childs_end_takes_nothing_along(host: Namespace, end: str) -> None:
    child, fork = ENDS[end]
    # Without root nobody can change the namespace that he is in: the program makes one.
    code = PROGRAM.format(child=child, fork=fork, host=HOST)
    program = [sys.executable, "-W", "ignore", "-c", code]
    command = program if place.ROOTLESS else place.inside(host, *program)
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG).stdout
    assert said.splitlines()[-1] == "whole"
    assert place.names() == []
    assert names(host) == ["lo"]


def test_F08_a_program_started_in_the_block_inherits_nothing(host: Namespace) -> None:
    """F08"""
    with Namespace("box") as box, VethPair(host, box, name="v0", peer_name="eth0"):
        list(host.links)
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True
        ).stdout
    assert "net:[" not in listing
    assert "socket:[" not in listing
