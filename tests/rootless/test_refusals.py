"""Each thing that can forbid it, provoked where this kernel has it: the error names it, and its value now."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from netkit._system import refusals
from tests.harness import counted
from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.rootless.programs import START

CREATE = """
try:
    with Namespace():
        Namespace().create()
except KernelError as problem:
    print(type(problem).__name__, problem)
"""
PROGRAM = [PYTHON, "-W", "error", "-c", START + CREATE]
UNSHARE = [PYTHON, "-m", "netkit", "unshare", "--", "true"]
DROP = "exec setpriv --ambient-caps=-all --inh-caps=-all "


def said(nobody: Ordinary, argv: Sequence[str]) -> str:
    """What the error says."""
    done = nobody.run(argv)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


# -- limits, which are per user namespace: a nested one is given others, the machine keeps its own ----------


@pytest.mark.parametrize(
    ("kind", "limit", "step"),
    [
        ("user", 0, "make a user namespace"),
        ("net", 0, "make a mount and a network and a pid namespace"),
        ("mnt", 0, "make a mount and a network and a pid namespace"),
        ("pid", 0, "make a mount and a network and a pid namespace"),
        ("net", 2, "create a network namespace"),
    ],
)
def test_a_limit_is_named_with_its_value(nobody: Ordinary, kind: str, limit: int, step: str) -> None:
    key = f"user.max_{kind}_namespaces"
    script = f'echo {limit} > /proc/sys/{key.replace(".", "/")}; {DROP} "$@"'
    told = said(nobody, [*counted.INSIDE, "sh", "-ec", script, "sh", *PROGRAM])
    assert told.startswith(f"KernelError cannot {step}: No space left on device (ENOSPC)")
    assert f"{key} = {limit}{' (forbids it)' if limit == 0 else ''}" in told


def test_a_limit_that_root_meets_is_named_with_its_value() -> None:
    script = 'echo 1 > /proc/sys/user/max_net_namespaces; exec "$@"'
    argv = [
        *counted.INSIDE[:2],
        "--map-root-user",
        "sh",
        "-ec",
        script,
        "sh",
        sys.executable,
        "-c",
        START + CREATE,
    ]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert "The limit is the sysctl user.max_net_namespaces = 1" in done.stdout, done


# -- seccomp, as in containers ------------------------------------------------------------------------------

# A filter that refuses one system call: seccomp(2), linux/filter.h. Then the program.
FILTER = """
import ctypes, os, platform, struct, sys
number = {"x86_64": (272, 56), "aarch64": (97, 220)}[platform.machine()][sys.argv[1] == "clone"]
def code(*fields): return struct.pack("HBBI", *fields)
program = code(0x20, 0, 0, 0)                            # load the number of the call
program += code(0x15, 0, 1, number)                      # if it is this one
program += code(0x06, 0, 0, 0x00050000 | int(sys.argv[2]))  # SECCOMP_RET_ERRNO
program += code(0x06, 0, 0, 0x7FFF0000)                  # SECCOMP_RET_ALLOW
buffer = ctypes.create_string_buffer(program)
holder = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0                   # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, holder, 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize("program", [PROGRAM, UNSHARE])
@pytest.mark.parametrize(("number", "name"), [(1, "EPERM"), (38, "ENOSYS")])
def test_a_filter_of_seccomp_is_named(nobody: Ordinary, program: list[str], number: int, name: str) -> None:
    told = said(nobody, [PYTHON, "-c", FILTER, "unshare", str(number), *program])
    assert "cannot make a user namespace: " in told
    assert f"({name})" in told
    assert "Seccomp = 2 in /proc/self/status (a filter, as containers have, may forbid unshare)" in told


# -- /proc --------------------------------------------------------------------------------------------------

BECOME = 'exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"'


def with_proc(nobody: Ordinary, mounts: str, argv: Sequence[str]) -> str:
    """What a program of his says whose /proc was changed by root before."""
    if os.geteuid():
        pytest.skip("mount(2) over what an ordinary user sees takes root")
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{mounts}; {BECOME}", "sh"]
    environment = {"HOME": str(nobody.home), "PYTHONPATH": str(nobody.home), "PATH": "/usr/bin:/usr/sbin"}
    done = subprocess.run([*private, *argv], env=environment, capture_output=True, text=True, timeout=LONG)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@needs("setpriv", "unshare")
@pytest.mark.parametrize("program", [PROGRAM, UNSHARE])
def test_a_missing_proc_is_named(nobody: Ordinary, program: list[str]) -> None:
    told = with_proc(nobody, "mount -t tmpfs none /proc", program)
    assert "cannot read the capabilities of this process: No such file or directory (ENOENT)" in told
    assert "is /proc mounted? As root: mount -t proc proc /proc" in told


@needs("setpriv", "unshare")
def test_what_hides_parts_of_proc_is_named(nobody: Ordinary) -> None:
    told = with_proc(nobody, "mount -t tmpfs none /proc/sys/kernel", PROGRAM)
    assert "cannot mount a /proc of its own" in told
    assert "mounts on parts of /proc, as containers have: /proc/sys/kernel" in told


# -- a chroot -----------------------------------------------------------------------------------------------

CHROOTED = "/ is that of a chroot, in which the kernel makes no user namespace (user_namespaces(7))"
# A root of the machine's own directories in a directory of a tmpfs; and its whole tree at another place.
IN_A_DIRECTORY = """mount -t proc proc /proc
    mount -t tmpfs none /mnt; mkdir /mnt/root; cd /mnt/root
    for each in bin dev etc home lib lib64 opt proc root sbin tmp usr; do
        if [ -L /$each ]; then cp -P /$each $each
        elif [ -d /$each ]; then mkdir $each; mount --rbind /$each $each; fi
    done"""
AT_A_MOUNT = "mount -t proc proc /proc; mount --rbind / /mnt; cd /mnt"


@needs("setpriv", "unshare")
@pytest.mark.parametrize("root", [IN_A_DIRECTORY, AT_A_MOUNT], ids=["directory", "mount"])
@pytest.mark.parametrize("program", [PROGRAM, UNSHARE], ids=["program", "unshare"])
def test_a_chroot_is_named(nobody: Ordinary, root: str, program: list[str]) -> None:
    if os.geteuid():
        pytest.skip("chroot(2) takes root")
    # A pid namespace of its own, so that process 1 is of this mount namespace, as it is with a real chroot.
    private = ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-ec"]
    become = 'chroot . setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"; exit $?'
    environment = {
        "HOME": str(nobody.home),
        "PYTHONPATH": str(nobody.home),
        "PATH": "/usr/bin:/usr/sbin:/bin",
    }
    argv = [*private, f"{root}\n{become}", "sh", *program]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=LONG)
    told = done.stdout + done.stderr
    assert "cannot make a user namespace: Operation not permitted (EPERM)" in told
    assert CHROOTED in told


def test_where_there_is_no_chroot_none_is_named() -> None:
    assert CHROOTED not in refusals.suspects()


# -- what this kernel has not, or cannot be without ---------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone = 0 (forbids it)"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "1", "unprivileged_userns_clone = 1"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "userns = 1 (forbids it)"),
    ],
)
def test_what_other_distributions_forbid_it_with(
    monkeypatch: pytest.MonkeyPatch, path: str, value: str, told: str
) -> None:
    monkeypatch.setattr(refusals, "_read", {path: value}.get)
    problem = refusals.refused("make a user namespace", PermissionError(1, "no"), refusals.suspects())
    assert isinstance(problem, PermissionError)
    assert told in str(problem)
    assert len(refusals.suspects()) == 1


def test_a_kernel_without_user_namespaces_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_read", lambda path: None)
    monkeypatch.setattr(refusals, "_MAPS", "/proc/self/there-is-none")
    (told,) = refusals.suspects()
    assert told.startswith("/proc/self/there-is-none is missing: /proc is not mounted")
