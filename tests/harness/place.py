"""Where the namespaces of the tests are: in this process's own world, or without root in the broker's.

The broker has a user, pid and mount namespace of its own, with its own /run. Commands get there by
nsenter(1), which the kernel allows to the user who owns the user namespace: nothing here depends on how
netkit starts programs inside.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from netkit import Namespace, UnsupportedError
from netkit._system import broker
from netkit._system.mode import is_rootless
from tests.harness.patience import LONG

ROOTLESS = is_rootless()


class HasFd(Protocol):
    """A netkit.Namespace, or anything else that holds a namespace open."""

    def fileno(self) -> int: ...


def there(*argv: str) -> list[str]:
    """The command that does `argv` beside the namespaces: where `ip netns` sees their names."""
    return [*_entering(None), *argv] if ROOTLESS else list(argv)


def inside(ns: HasFd, *argv: str) -> list[str]:
    """The command that does `argv` in a namespace."""
    file = f"/proc/{os.getpid()}/fd/{ns.fileno()}"
    if os.stat(file).st_ino == os.stat("/proc/thread-self/ns/net").st_ino:
        return list(argv)  # an ordinary user may not even enter the namespace that he is in
    if ROOTLESS:
        return [*_entering(f"--net={file}"), *argv]
    return ["nsenter", f"--net={file}", "--", *argv]


def program(ns: HasFd, source: str) -> str:
    """The output of a Python program whose own namespace is `ns`, with root or without as this process."""
    words = ["env", f"NETKIT_ROOTLESS={int(ROOTLESS)}", sys.executable, "-W", "error", "-c", source]
    done = subprocess.run(inside(ns, *words), capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def path(inside: str = "/run/netns") -> Path:
    """By which this process sees a path that is meant there."""
    return Path(f"/proc/{holder()}/root{inside}" if ROOTLESS else inside)


def names() -> list[str]:
    """The names that namespaces have there."""
    return sorted(os.listdir(path()))


def unname(name: str) -> None:
    """Take a namespace's name away, as somebody else could: a symlink, or without root a mount."""
    if ROOTLESS:
        subprocess.run(there("umount", f"/run/netns/{name}"), check=True)
    path(f"/run/netns/{name}").unlink()


def main_of(pid: int) -> int:
    """The process of a command that was started by `there` or `inside`: nsenter(1) waits for it."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if ROOTLESS else []
    return int(words[0]) if words else pid


def send(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to such a command; nsenter(1) ends as it does. Nothing if it has ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.kill(main_of(process.pid), number)


def pid_of(number: int) -> int:
    """The process that has this number there."""
    if not ROOTLESS:
        return number
    world = os.stat(f"/proc/{holder()}/ns/pid")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.path.samestat(world, os.stat(entry / "ns/pid")) and number_there(int(entry.name)) == number:
                return int(entry.name)
        except OSError:
            continue  # ended, or somebody else's
    raise ProcessLookupError(f"no process {number} is there")


def number_there(pid: int) -> int:
    """The number by which processes that are there know one."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "NSpid" in each]
    return int(line.split()[-1])


def refuses_to_enter(ns: Namespace) -> bool:
    """Without root no thread of this process can enter (setns(2)): that it is explained, and True."""
    if ROOTLESS:
        with pytest.raises(UnsupportedError, match="netkit unshare"):
            ns.entered()
    return ROOTLESS


def holder() -> int:
    """A process that is there."""
    return broker.broker().pid if ROOTLESS else os.getpid()


def _entering(net: str | None) -> list[str]:
    kinds = ["user", "mnt", "pid"] if net else ["user", "mnt", "pid", "net"]
    files = [f"--{'mount' if kind == 'mnt' else kind}=/proc/{holder()}/ns/{kind}" for kind in kinds]
    words = ["nsenter", "--preserve-credentials", *files, *([net] if net else [])]
    return [*words, f"--wdns={os.getcwd()}", "--"]
