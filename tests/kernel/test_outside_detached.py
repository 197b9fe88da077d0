"""A way outside that is detached and adopted, by this process and by others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from netkit import Namespace, NotFoundError, Outside, PublishedPort, StateError
from netkit._outside.redirects import redirects
from netkit._system import broker_frames as frames
from tests.harness.oracle import addresses
from tests.harness.outside import backend, echoed, gone, helpers, server
from tests.harness.patience import LONG
from tests.harness.tools import needs, needs_tun

__all__ = ["backend"]  # the fixture

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = [pytest.mark.capable, needs_tun]


DETACHES = """
import sys
from netkit import *
box = Namespace.open(sys.argv[2])
outside = box.connect_outside(backend=sys.argv[1], publish={8080: 80}).detach()
print(outside.exists, flush=True)
"""


def test_detached_it_outlives_the_process(backend: str) -> None:
    with Namespace("long-lived") as box:
        argv = [sys.executable, "-c", DETACHES, backend, "long-lived"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG)
        assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
        with server("0.0.0.0", 80, ns=box):
            assert echoed(None, "127.0.0.1", 8080)
        assert addresses(box, "tap0") == ["10.0.2.100/24"]
        (program,) = [pid for pid, line in helpers().items() if line.split(" ")[0].endswith(backend)]
        os.kill(program, signal.SIGKILL)
        assert gone({program}) == []


def test_adopted_again_it_ends_with_its_block(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend).detach()
    assert outside.exists
    with pytest.raises(StateError):
        outside.delete()
    outside.adopt()
    outside.delete()
    assert helpers() == {}


ADOPTS = """
import os, signal, sys
from netkit import *
box = Namespace.open(sys.argv[1])
outside = Outside(box).adopt()
print(outside.backend, *outside.published, next(iter(outside.link.addresses)), outside.gateway, outside.dns)
if sys.argv[2] == "delete":
    outside.delete()
elif sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "detach":
    outside.detach()
"""


@pytest.mark.parametrize("end", ["delete", "exit", "kill"])
def test_another_process_adopts_it(backend: str, end: str) -> None:
    """By the namespace and the device; from hand to hand, and with the last one it ends."""
    with Namespace("long-lived") as box:
        script = DETACHES.replace("publish=", "address='10.7.0.9/24', dns=False, publish=")
        subprocess.run([sys.executable, "-c", script, backend, "long-lived"], check=True, timeout=LONG)
        told = f"{backend} 127.0.0.1:8080->80/tcp 10.7.0.9/24 10.7.0.2 None\n"
        for verb in ("detach", end):
            assert addresses(box, "tap0") == ["10.7.0.9/24"]
            argv = [sys.executable, "-u", "-c", ADOPTS, "long-lived", verb]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG)
            killed = verb == "kill"
            assert (done.stdout, done.returncode) == (told, -signal.SIGKILL if killed else 0), done.stderr
            assert ("still owned at exit" in done.stderr) <= (verb == "exit")
        assert gone({*helpers()}) == []
        assert "tap0" not in box.links
        with pytest.raises(NotFoundError, match="detach"):
            Outside(box).adopt()


@needs("pasta")
def test_rules_of_its_ports_are_adopted_with_it(box: Namespace) -> None:
    lost = [PublishedPort("udp", "127.0.0.1", 5353, 53)]
    outside = box.connect_outside(backend="pasta", publish=["127.0.0.1:5353:53/udp"])
    if not outside._lost:  # a newer pasta; what this one makes good is made here
        outside._lost = lost
        outside._redirects = [rule.create() for rule in redirects(box, lost, "10.0.2.100")]
        for rule in outside._redirects:
            outside._hold(rule)
    rules = box.snapshot().nat
    assert len(rules) == 2
    outside.detach()
    other = Outside(box).adopt()
    assert [str(each) for each in other.published] == ["127.0.0.1:5353->53/udp"]
    other.delete()
    assert box.snapshot().nat == ()
    with pytest.raises(StateError, match=r"another process has adopted it|has ended"):
        outside.adopt()


def test_what_is_owned_cannot_be_adopted(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    with pytest.raises(NotFoundError, match="owns it, and has to detach"):
        Outside(box).adopt()
    assert outside.exists
    outside.delete()


@pytest.mark.parametrize("says", [b"", b"x", "detach", "adopt"])
def test_who_knocks_and_says_something_else(box: Namespace, backend: str, says: bytes | str) -> None:
    """The keeper hangs up, and goes on for who knows what to say."""
    outside = box.connect_outside(backend=backend).detach()
    with box.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
        visitor.settimeout(LONG)
        visitor.connect(b"\0netkit-outside-tap0")
        if isinstance(says, str):
            frames.send(visitor, frames.REQUEST, 0, {"request": says}, [0] if says == "detach" else [])
        elif says:
            visitor.send(says)
        if says:
            assert visitor.recv(100) == b""
    assert outside.exists
    Outside(box).adopt().delete()
    assert gone({*helpers()}) == []  # the keeper above, which only waited
