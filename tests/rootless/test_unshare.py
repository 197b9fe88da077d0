"""`netkit unshare -- COMMAND`: a program in namespaces of its own, started by an ordinary user."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness import processes
from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs

UNSHARE = [PYTHON, "-m", "netkit", "unshare", "--"]


def test_it_is_root_of_a_network_of_its_own(nobody: Ordinary) -> None:
    script = (
        "id -u; ip -br link; ls /run; readlink /proc/self/ns/net; ip link add v0 type veth; ls /sys/class"
    )
    done = nobody.run([*UNSHARE, "sh", "-ec", script])
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "0"
    assert lines[1].split()[:2] == ["lo", "UNKNOWN"]  # as `ip` says of lo when it is up
    assert lines[2] == "netns"
    assert lines[3] != os.readlink("/proc/self/ns/net")


@needs("iptables-legacy")
def test_names_and_the_xtables_lock_are_its_own(nobody: Ordinary) -> None:
    script = (
        "ip netns add inner; ip netns exec inner ip link set lo up; ip netns\n"
        "iptables-legacy -w -t nat -A POSTROUTING -j MASQUERADE\n"
        "iptables-legacy -w -t nat -S; test -e /run/xtables.lock"
    )
    done = nobody.run([*UNSHARE, "sh", "-ec", script])
    if "modprobe" in done.stderr and not Path("/proc/net/ip_tables_names").exists():
        pytest.skip("the kernel's iptables is not loaded, and an ordinary user loads no module")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("inner\n")
    assert "-A POSTROUTING -j MASQUERADE" in done.stdout
    assert not Path("/run/netns/inner").exists()


def test_netkit_works_in_it(nobody: Ordinary) -> None:
    program = (
        "from netkit import Namespace, VethPair\n"
        "with Namespace('a') as a, Namespace() as b:\n"
        "    with VethPair(a, b, name='e', peer_name='e', address='10.0.0.1/8', peer_address='10.0.0.2/8'):\n"
        "        assert a.ping('10.0.0.2').loss == 0\n"
        "    with a.entered():\n"
        "        print([link.name for link in Namespace.current().links])\n"
    )
    done = nobody.run([*UNSHARE, PYTHON, "-W", "error", "-c", program])
    assert (done.returncode, done.stdout, done.stderr) == (0, "['lo']\n", "")


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_program_s(nobody: Ordinary, status: int) -> None:
    assert nobody.run([*UNSHARE, "sh", "-c", f"exit {status}"]).returncode == status


def test_a_signal_reaches_the_program_and_is_how_it_ended(nobody: Ordinary) -> None:
    with nobody.popen([*UNSHARE, "sh", "-c", "echo started; exec cat"], stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == -signal.SIGTERM


def test_a_broken_pipe_ends_the_program_as_elsewhere(nobody: Ordinary) -> None:
    done = nobody.run([*UNSHARE, "bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}"])
    assert done.stdout == f"y\n{128 + signal.SIGPIPE}\n"


def test_a_second_pair_of_dashes_is_the_program_s(nobody: Ordinary) -> None:
    assert nobody.run([*UNSHARE, "echo", "-n", "--", "-x"]).stdout == "-- -x"


def test_a_program_that_cannot_be_run(nobody: Ordinary) -> None:
    done = nobody.run([*UNSHARE, "no-such-program"])
    assert (done.returncode, done.stderr) == (127, "netkit: no-such-program: no such program\n")
    done = nobody.run([*UNSHARE, "/etc/passwd"])
    assert (done.returncode, done.stderr) == (126, "netkit: /etc/passwd: it may not be run\n")


def test_nothing_is_left_when_it_is_killed(nobody: Ordinary) -> None:
    script = "ip link add v0 type veth; readlink /proc/self/ns/net; exec cat"
    with nobody.popen([*UNSHARE, "sh", "-ec", script], stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        network = process.stdout.readline().strip()
        inside = _processes_in(network)
        assert inside
        process.kill()
        process.wait(LONG)
    deadline = time.monotonic() + LONG
    assert [line for pid in inside if (line := processes.wait(pid, deadline))] == []


def _processes_in(network: str) -> set[int]:
    found: set[int] = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if os.readlink(link) == network:
                found.add(int(link.parts[2]))
        except OSError:
            continue  # it has ended
    return found


# -- refusals ---------------------------------------------------------------------------------


# The limits are per user namespace, so a nested one can be given others: the machine keeps its own.
@pytest.mark.parametrize(
    ("key", "step"),
    [
        ("user.max_user_namespaces", "make a user namespace"),
        ("user.max_net_namespaces", "make a mount and a network namespace"),
        ("user.max_mnt_namespaces", "make a mount and a network namespace"),
    ],
)
def test_a_limit_is_named_with_its_value(nobody: Ordinary, key: str, step: str) -> None:
    inner = f"echo 0 > /proc/sys/{key.replace('.', '/')}; exec setpriv --ambient-caps=-all --inh-caps=-all "
    inner += " ".join(UNSHARE) + " true"
    done = nobody.run(["unshare", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-ec", inner])
    assert done.returncode == 1
    assert done.stderr.startswith(f"netkit: cannot {step}: No space left on device (ENOSPC)")
    assert f"{key} = 0 (forbids it)" in done.stderr
