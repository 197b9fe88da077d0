"""Runs a program without capabilities and shows that it left nothing, as the kernel itself counts it.

    unshare --user --map-user=1000 --map-group=1000 --keep-caps PYTHON counted.py PROGRAM [ARGUMENT...]

A user namespace has limits and counts of its own. Orphans become children of this process
(PR_SET_CHILD_SUBREAPER), so that waiting for all children is waiting for every process; then one namespace
of each kind and two networks are allowed, and netkit must be able to make them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

INSIDE = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"]
_ORDINARY = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"]
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = round(300 * float(os.environ.get("NETKIT_TEST_PATIENCE", "1")))  # is run as text, without imports
_AFTERWARDS = """
from netkit import KernelError, Namespace
with Namespace() as first:
    assert first.ping("127.0.0.1").loss == 0
    try:
        Namespace().create()
    except KernelError as problem:
        assert "user.max_net_namespaces" in str(problem), problem
    else:
        raise SystemExit("the limits do not count what is made")
"""


def run(argv: list[str]) -> None:
    """All of it; SystemExit for what failed or was left."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("no PR_SET_CHILD_SUBREAPER")
    mounts = _mounts()
    status = subprocess.run([*_ORDINARY, *argv]).returncode
    if status:
        raise SystemExit(f"status {status}")
    _wait_for_processes()
    if _mounts() != mounts:
        raise SystemExit(f"mounts: {mounts} and now {_mounts()}")
    _wait_for_namespaces()


def _mounts() -> str:
    with open("/proc/self/mountinfo") as file:
        return file.read()


def _wait_for_processes() -> None:
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE, 1)  # again, for one just before the wait does not end it
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(number: int, frame: object) -> None:
    show = ["ps", "--ppid", str(os.getpid()), "-o", "pid,etime,wchan:20,args"]
    left = subprocess.run(show, capture_output=True, text=True)
    raise SystemExit(f"processes are left:\n{left.stdout}")


def _wait_for_namespaces() -> None:
    """The kernel frees them in the background."""
    for kind, limit in (("user", 1), ("mnt", 1), ("pid", 1), ("net", 2)):
        with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
            file.write(str(limit))
    deadline = time.monotonic() + _PATIENCE
    environment = {key: value for key, value in os.environ.items() if key != "NETKIT_ROOTLESS"}
    argv = [*_ORDINARY, sys.executable, "-c", _AFTERWARDS]
    while (done := subprocess.run(argv, env=environment, capture_output=True, text=True)).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(done.stderr)


if __name__ == "__main__":
    run(sys.argv[1:])
