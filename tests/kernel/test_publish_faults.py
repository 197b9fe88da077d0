"""Published ports by both backends when something goes wrong in the middle: what is there afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from subprocess import PIPE
from typing import Any

import pytest

from netkit import (
    BackendError,
    ExistsError,
    KernelError,
    NatRule,
    PortMapping,
)
from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.publish_chains import PublishedChains
from netkit._netlink.socket import NetlinkSocket
from tests.harness.calls import at_once
from tests.harness.packets import bound, tcp
from tests.harness.publishing import (
    World,
    backend,
    is_detached,
    left_in_the_end,
    ruleset,
    shows,
    world,
)
from tests.harness.tools import BACKENDS

__all__ = ["backend", "world"]
pytestmark = pytest.mark.usefixtures("backend")


class Breaking:
    """Interrupts the n-th transaction, before it is sent or after the kernel has done it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int, done: bool) -> None:
        self.left = n

        def broken(real: Any) -> Any:
            def transact(*arguments: Any, **keywords: Any) -> Any:
                self.left -= 1
                if self.left == 0 and not done:
                    raise KeyboardInterrupt
                replies = real(*arguments, **keywords)
                if self.left == 0:
                    raise KeyboardInterrupt
                return replies

            return transact

        for kind, name in ((NetlinkSocket, "transact"), (IptablesWorker, "transaction")):
            monkeypatch.setattr(kind, name, broken(getattr(kind, name)))


@pytest.mark.parametrize("done", [False, True])
def test_an_interrupt_while_it_is_added(world: World, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"):
        Breaking(monkeypatch, 1, done)
        with pytest.raises(KeyboardInterrupt):
            world.host.publish(8081, to="172.18.0.2:80").create()
        monkeypatch.undo()
        with world.host.publish(8082, to="172.18.0.2:80"):  # whatever is begun next settles it
            text = ruleset(world.host)
            assert [shows(text, port, "172.18.0.2", 80) for port in (8080, 8081, 8082)] == [True, False, True]
        with bound(world.box, "172.18.0.2", 80) as server:
            assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
    assert ruleset(world.host) == ""


@pytest.mark.parametrize("done", [False, True])
def test_an_interrupt_while_it_is_removed(world: World, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"):
        mapping = world.host.publish(8081, to=(world.box, 80)).create()
        Breaking(monkeypatch, 1, done)
        with pytest.raises(KeyboardInterrupt):
            mapping.delete()
        monkeypatch.undo()
        text = ruleset(world.host)
        assert [shows(text, port, "172.18.0.2", 80) for port in (8080, 8081)] == [True, False]
    assert ruleset(world.host) == ""


def created(mapping: PortMapping) -> bool:
    try:
        mapping.create()
    except KernelError as problem:
        if "the test" not in str(problem):
            raise
        return False
    return True


def test_a_refusal_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step on the way, refused: ports, sysctls and rules are as before."""
    before = {
        key: world.host.sysctl[key] for key in ("net.ipv4.ip_forward", "net.ipv4.conf.br0.route_localnet")
    }
    steps = 0
    while True:
        steps += 1
        count = [steps]

        def refused(real: Any, count: list[int] = count) -> Any:
            def call(*arguments: Any, **keywords: Any) -> Any:
                count[0] -= 1
                if count[0] == 0:
                    raise KernelError("do what was asked", 12, netns="the test")
                return real(*arguments, **keywords)

            return call

        mapping = world.host.publish(8080, to=(world.box, 80), proto=["tcp", "udp"])
        with monkeypatch.context() as patch:
            for name in ("request", "dump", "get", "batch", "transact"):
                patch.setattr(NetlinkSocket, name, refused(getattr(NetlinkSocket, name)))
            patch.setattr(IptablesWorker, "transaction", refused(IptablesWorker.transaction))
            made = created(mapping)
        if made:
            mapping.delete()
            assert count[0] > 0, "a refusal was passed over"
            break
        assert ruleset(world.host) == ""
        assert {key: world.host.sysctl[key] for key in before} == before
        assert mapping.reserved == ()
        with world.host.publish(8080, to=(world.box, 80), proto=["tcp", "udp"]):
            pass
    assert steps > 5


def test_many_threads(world: World) -> None:
    def work(number: int) -> None:
        for step in range(10):
            with world.host.publish(8000 + number * 10 + step, to=(world.box, 80), proto=["tcp", "udp"]):
                pass

    assert at_once(8, work) == []
    assert ruleset(world.host) == ""


def test_of_two_that_want_the_same_port_one_gets_it(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80") as first:
        with pytest.raises(ExistsError):
            world.host.publish(8080, to="172.18.0.2:81").create()
        assert first.exists
        with world.host.publish(8080, to="[fd18::2]:80", reserve=False):  # the other family
            assert first.exists


SAME_PORT = """
import sys
from netkit import ExistsError, Namespace, NotFoundError
host = Namespace.current()
mapping = host.publish(8080, to="172.18.0.2:80", reserve=False, relay=False, backend=sys.argv[1])
if sys.argv[2] == "detach":
    mapping.create()
print("ready", flush=True)
sys.stdin.readline()
try:
    getattr(mapping, sys.argv[2])()
    print("done", flush=True)
except (ExistsError, NotFoundError) as problem:
    print(problem, mapping.exists if sys.argv[2] == "detach" else "", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("verb", "words"),
    [("detach", "Another process has detached one of these ports"), ("adopt", "No such ports were detached")],
)
def test_of_processes_that_do_the_same_one_succeeds(
    world: World, backend: str, verb: str, words: str
) -> None:
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    mapping = world.host.publish(8080, to="172.18.0.2:80", reserve=False, relay=False)
    if verb == "adopt":
        mapping.create().detach()
    argv = [sys.executable, "-c", SAME_PORT, backend, verb]
    with contextlib.ExitStack() as stack:
        racing = [
            stack.enter_context(world.host.popen(argv, stdin=PIPE, stdout=PIPE, text=True)) for _ in range(4)
        ]
        pipes = [(each.stdin, each.stdout) for each in racing if each.stdin and each.stdout]
        for _, told in pipes:
            assert told.readline() == "ready\n"
        for begin, _ in pipes:
            begin.write("\n")
            begin.flush()
        said = sorted([told.readline() for _, told in pipes], key="done\n".__eq__)
        assert [line for line in said if words not in line] == ["done\n"]
        assert verb == "adopt" or all(line.endswith(" True\n") for line in said[:-1])
        assert (verb == "detach") == is_detached(ruleset(world.host))
    if verb == "detach":
        mapping.adopt().delete()
    assert left_in_the_end(world.host) == ""


@pytest.mark.parametrize("backend", BACKENDS[1:], indirect=True)
def test_a_worker_that_dies_in_the_middle(world: World) -> None:
    """Nobody knows what it has done: the next change settles it, by another worker."""
    with world.host.publish(8080, to="172.18.0.2:80"):
        books = world.host._live_runtime().kept("published by iptables")
        assert isinstance(books, PublishedChains)
        process = books._worker._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="worker process ended"):
            world.host.publish(8081, to="172.18.0.2:80").create()
        with world.host.publish(8082, to="172.18.0.2:80"):
            text = ruleset(world.host)
            assert [shows(text, port, "172.18.0.2", 80) for port in (8080, 8081, 8082)] == [True, False, True]
    assert ruleset(world.host) == ""


def test_both_backends_at_once(world: World) -> None:
    """A port is published once, by whatever backend; each cleans up its own."""
    with world.host.publish(8080, to="172.18.0.2:80", reserve=False, backend="nftables"):
        with pytest.raises(ExistsError, match="This program has published it"):
            world.host.publish(8080, to="172.18.0.2:81", reserve=False, backend="iptables").create()
        with (
            world.host.publish(8081, to="172.18.0.2:80", backend="iptables"),
            bound(world.box, "172.18.0.2", 80) as server,
        ):
            assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
            assert tcp(world.host, "127.0.0.1", 8081, server) == "172.18.0.1"
    assert ruleset(world.host) == ""


FLUSHED = """nft flush ruleset
for program in iptables ip6tables; do for table in nat raw mangle; do
$program-legacy -w -t $table -F; $program-legacy -w -t $table -X; done; done"""


def test_what_a_stranger_has_flushed_is_deleted_all_the_same(world: World, backend: str) -> None:
    """Also a part of it, and what others have made meanwhile stays."""
    legacy = backend == "iptables"
    words = FLUSHED if legacy else FLUSHED.splitlines()[0]
    chosen: Any = backend
    for count in range(3):
        made = [
            world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).create(),
            world.host.publish_many({9000 + n: f"172.18.0.2:{n + 1}" for n in range(50)}).create(),
            NatRule.tproxy(world.host, dport=443, to=3128, backend=chosen).create(),
        ]
        for each in made[:count]:
            each.delete()
        world.host.run(["sh", "-ec", words], check=True)
        made.append(world.host.publish(8443, to="172.18.0.2:443").create())
        for each in made[count:]:
            each.delete()
        assert ruleset(world.host) == ""
        assert not [rule for rule in world.host.rules if rule.fwmark]
