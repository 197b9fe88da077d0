"""Exits without __exit__: what is still owned is undone, what was forgotten is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netkit
from netkit import Namespace
from tests.harness import place
from tests.harness.oracle import nft, run_in, sorted_names
from tests.harness.patience import LONG

BUILD = """
import gc, os, signal, sys, threading
from netkit import *
host = Namespace.current()
def build(scope):
    box = scope.own(Namespace("left"))
    bridge = scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
    bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
    scope.own(VethPair(host, box, name="v1", peer_name="eth1"))
    scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
    scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0"))
    return box
"""
EXITS = {
    "a global": "scope = Scope().__enter__(); build(scope)",
    "created only": "pair = VethPair(host, Namespace('left').create(), name='v0', peer_name='e').create()",
    "nobody's": "VethPair(host, Namespace('left').create(), name='v0', peer_name='e').create(); gc.collect()",
    "a generator": """
def network():
    with Scope() as scope:
        yield build(scope)
suspended = network()
next(suspended)
""",
    "a daemon thread": """
ready = threading.Event()
def work():
    with Scope() as scope:
        build(scope)
        ready.set()
        threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
    "sys.exit in a thread": """
def work():
    scope = Scope().__enter__()
    build(scope)
    sys.exit(3)
thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
    "an exception": "scope = Scope().__enter__(); build(scope); sys.excepthook = lambda *_: None; 1 / 0",
    "sys.exit": "scope = Scope().__enter__(); build(scope); sys.exit(5)",
    "shutdown": "import netkit; scope = Scope().__enter__(); build(scope); netkit.shutdown(); os._exit(0)",
    "a process inside": "box = build(Scope().__enter__()); box.popen(['sleep', '100'])",
    "warnings are errors": "import warnings; warnings.simplefilter('error'); build(Scope().__enter__())",
}


@pytest.mark.parametrize("how", EXITS)
def test_F06_an_exit_undoes_what_is_still_owned(host: Namespace, how: str) -> None:
    """F06"""
    command = place.inside(host, sys.executable, "-c", BUILD + EXITS[how])
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert sorted_names(host) == ["lo"], done.stderr
    assert nft(host) == []
    assert run_in(host, "sysctl", "-n", "net.ipv4.ip_default_ttl") == "64\n"
    assert place.names() == []


def test_F06_what_was_forgotten_is_named(host: Namespace) -> None:
    code = BUILD + "scope = Scope().__enter__(); build(scope)"
    command = place.inside(host, sys.executable, "-W", "always", "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert "ResourceWarning" in done.stderr
    assert "'left'" in done.stderr
    assert done.returncode == 0


def test_shutdown_undoes_and_netkit_goes_on(host: Namespace) -> None:
    code = BUILD + (
        "build(Scope().__enter__()); import netkit; netkit.shutdown(); netkit.shutdown()\n"
        "assert [link.name for link in host.links] == ['lo']\n"
        "with Scope() as scope: build(scope)\n"
        "assert [link.name for link in host.links] == ['lo']\n"
        "print('whole')"
    )
    assert run_in(host, sys.executable, "-W", "ignore", "-c", code) == "whole\n"
    assert callable(netkit.shutdown)
