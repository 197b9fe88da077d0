"""gc without root: nothing of one's own is ever left, and what is left by others is told of, not touched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import IS_ROOT
from tests.harness.killed import doomed
from tests.harness.ordinary import PYTHON, Ordinary
from tests.rootless.programs import program

GC = "print(*netkit.gc(), *netkit.gc(dry_run=True), sep='\\n')"


def test_nothing_of_his_own_is_left_by_a_killed_process(nobody: Ordinary) -> None:
    text = """
import signal
if os.fork() == 0:
    box = Namespace("box").create()
    host = Namespace().create()
    Bridge(host, "br0").create()
    RouteTable(host, 100).add("10.9.0.0/16", type="blackhole")
    host.sysctl.override("net.ipv4.ip_forward", 1).create()
    os.kill(os.getpid(), signal.SIGKILL)
child, _ = os.wait()
print([each for each in netkit.gc() if each.owner.startswith(f"{child}-")], os.path.exists("/run/netns/box"))
"""
    assert program(nobody, text) == ["[] False"]
    assert nobody.run([PYTHON, "-m", "netkit", "gc"]).returncode == 0


@pytest.mark.skipif(not IS_ROOT, reason="root leaves something")
def test_what_takes_root_is_told_and_left_alone(nobody: Ordinary) -> None:
    with doomed('own(Bridge(host, "br-a")), own(Namespace("box"))') as process:
        others = program(nobody, GC)  # of earlier tests' processes
        assert not [line for line in others if "br-a" in line or "box" in line], "what lives is not told of"
        process.kill_guard()
        process.kill()
        owner = process.journal.name.rpartition("-")[0]
    reason = "CAP_SYS_ADMIN and CAP_NET_ADMIN missing: run `netkit gc` as root"
    found = [
        f"what process {process.pid} has noted (left alone: {reason})",
        f"bridge 'br-a', by its alias (left alone: {reason})",
        f"namespace 'box', which leads nowhere (left alone: {reason})",
    ]
    assert [line for line in program(nobody, GC) if line not in others] == found * 2
    told = nobody.run([PYTHON, "-m", "netkit", "gc"])
    assert told.returncode == 0
    expected = f"left alone: what process {process.pid} has noted of {owner}: {reason}"
    assert expected in told.stdout.splitlines()
    assert os.path.lexists("/run/netns/box")
    done = subprocess.run([sys.executable, "-m", "netkit", "gc"], capture_output=True, text=True, check=True)
    assert "br-a" in done.stdout
    assert not os.path.lexists("/run/netns/box")
    assert not [line for line in program(nobody, GC) if line in found]
