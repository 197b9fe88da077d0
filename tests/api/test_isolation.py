"""The suite's own guarantee: a session that leaves something on the machine fails and says what.

Each inner session's "machine" is a throw-away namespace, made by unshare(1) around it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.leaks import Held, leaks
from tests.harness.patience import LONG
from tests.harness.tools import needs

pytestmark = [pytest.mark.kernel, pytest.mark.capable, needs("nft", "iptables-legacy")]
ROOT = Path(__file__).parents[2]

LEAVES_ALL = """
import os, subprocess
machine = f"/proc/{os.getppid()}"
def on_machine(command):
    # Its root too: in a chroot the mount namespace's own root is somebody else's.
    enter = ["nsenter", f"--net={machine}/ns/net", f"--mount={machine}/ns/mnt", f"--root={machine}/root"]
    subprocess.run([*enter, "sh", "-ec", command], check=True)

def test_leaves_all():
    on_machine("ip link add name leak0 type veth peer name leak1")
    on_machine("ip address add 192.0.2.1/32 dev lo")
    on_machine("ip route add blackhole 198.51.100.0/24 table 77")
    on_machine("ip rule add from 192.0.2.1 table 77")
    on_machine("nft add table inet leaked")
    on_machine("iptables-legacy -w -t nat -A POSTROUTING -j MASQUERADE")
    on_machine("echo 1 > /proc/sys/net/ipv4/ip_forward")
    on_machine("mkdir -p /run/netns /run/netkit && touch /run/netns/stale /run/netkit/journal")
    on_machine("mount -t tmpfs leaked /mnt")
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
"""

LEAVES_NOTHING = """
import socket, subprocess
def test_works_inside():
    subprocess.run(["ip", "link", "add", "mine0", "type", "veth"], check=True)
    subprocess.run(["nft", "add", "table", "inet", "mine"], check=True)
    open("/run/netns/mine", "x").close()
    open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
"""

LEFT = [
    "link: new: .*leak0",
    "address: was: .*\naddress: is: .*192.0.2.1",
    "route: new: .*198.51.100.0/24",
    "rule: new: .*192.0.2.1",
    "nft: new: table inet leaked",
    "iptables: new: nat -A POSTROUTING -j MASQUERADE",
    "sysctl: was: .*ip_forward = 0\nsysctl: is: .*ip_forward = 1",
    "namespace: new: /run/netns/stale",
    "journal: new: /run/netkit/journal",
    "mount: new: .*/mnt",
    "process left: .* sleep 1000",
]


def _session(directory: Path, source: str, patience: float = 1) -> subprocess.CompletedProcess[str]:
    """Run pytest on one file, with this project's conftest, in a machine of its own."""
    directory.joinpath("conftest.py").write_text("from tests.conftest import *  # noqa: F403\n")
    directory.joinpath("test_inner.py").write_text(source)
    inner = f"mount -t tmpfs none /run; {sys.executable} -m pytest -p no:cacheprovider {directory}; exit $?"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", inner],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT), "NETKIT_TEST_PATIENCE": str(patience)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LONG,
    )


def test_what_a_session_leaves_fails_it(tmp_path: Path) -> None:
    done = _session(tmp_path, LEAVES_ALL, patience=0.01)
    for pid in re.findall(r"process left: (\d+) sleep 1000", done.stdout):
        os.kill(int(pid), signal.SIGKILL)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    assert [line for line in LEFT if not re.search(line, done.stdout)] == []


def test_what_a_session_does_inside_is_its_own_affair(tmp_path: Path) -> None:
    done = _session(tmp_path, LEAVES_NOTHING)
    assert (done.returncode, "is not what it was" in done.stdout) == (0, False), done.stdout + done.stderr


def test_a_test_that_leaves_a_file_or_a_child_is_seen() -> None:
    before = Held.now()
    read_end, write_end = os.pipe()
    child = subprocess.Popen(["sleep", "1000"])
    try:
        found = leaks(before, grace=0)
    finally:
        child.kill()
        child.wait()
        os.close(read_end)
        os.close(write_end)
    assert [line.split(":")[0] for line in found] == ["child", "open file", "open file"]
    assert leaks(before) == []
