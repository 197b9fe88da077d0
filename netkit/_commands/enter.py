"""`netkit exec`: this process moves into a namespace and becomes a program there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from netkit._commands.show import registered
from netkit._opener import open_registered
from netkit._spec.value import shown_path
from netkit._system import nsfs
from netkit._system.mode import is_rootless
from netkit._system.signals import restore_ignored
from netkit._system.syscalls import CLONE_NEWNET, setns
from netkit.errors import kernel_error

NOT_RUNNABLE, NOT_FOUND = 126, 127


def enter(name: str, words: Sequence[str]) -> int:
    """Run a program in a namespace; returns only if it cannot be."""
    path = runnable(words[0])
    if isinstance(path, int):
        return path
    descriptor = _opened(name)
    try:
        setns(descriptor, CLONE_NEWNET)
    except OSError as problem:
        hint = "Without root it cannot be entered; `netkit unshare -- COMMAND` makes one of your own"
        missing = "CAP_SYS_ADMIN" if is_rootless() else None
        operation = f"enter namespace '{name}'"
        raise kernel_error(
            operation, problem.errno or 0, missing_capability=missing, hint=hint if missing else None
        ) from None
    return take_place(path, words)


def _opened(name: str) -> int:
    if name.isdecimal() and name not in registered():
        return nsfs.open_pid(int(name))
    return open_registered(name)


def runnable(program: str) -> str | int:
    """Where a program is; a shell's exit status if it is nowhere or may not be run, which is said."""
    path = shutil.which(program)
    if path is not None:
        return path
    found = os.path.exists(program) and "/" in program
    problem = "it may not be run" if found else "no such program"
    print(f"netkit: {shown_path(program)}: {problem}", file=sys.stderr)
    return NOT_RUNNABLE if found else NOT_FOUND


def take_place(path: str, words: Sequence[str]) -> int:
    """Become the program; a shell's exit status if it is none."""
    restore_ignored()
    try:
        os.execv(path, [*words])
    except OSError as problem:
        print(f"netkit: {shown_path(path)}: {problem.strerror}", file=sys.stderr)
        return NOT_RUNNABLE
