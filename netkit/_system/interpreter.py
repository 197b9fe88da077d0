"""A helper process of netkit's own: a fresh interpreter with parts of netkit, and few descriptors."""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from netkit._system.orphan import Orphan, start
from netkit.errors import UnsupportedError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FIRST = 3  # the number of the first descriptor that is passed
# The packages without their __init__, which would load what a helper has no use for. What is inheritable in
# the program, for children of its own, is not the helper's to hold open.
# Looking for garbage while modules are loaded finds none, in a millisecond.
_START = """
import gc, posix, sys
gc.disable()
posix.closerange({}, {})
for name in ("netkit", "netkit._lifecycle"):
    package = sys.modules[name] = type(sys)(name)
    package.__path__ = [sys.argv[1] + name[6:].replace(".", "/")]
from netkit.{} import main
gc.enable()
main()
"""
_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")  # an interpreter may not start without
_MOST = 1 << 20  # where the limit is higher, closing one by one takes long on an old kernel


def spawn_helper(
    module: str,
    fds: Sequence[int],
    what: str,
    *arguments: str,
    new_session: bool = False,
    blocked: Collection[int] = (),
    variables: Sequence[str] = (),
) -> Orphan:
    """Run ``main()`` of a module, such as ``_system.broker_server``, in a process that is no child.

    It gets nothing but these descriptors, numbered from FIRST, finds the ``arguments`` from
    ``sys.argv[2]`` on, and gets no ``variables`` of the environment that the interpreter does not need but
    these. ``what`` it is for, in words, for an error. It begins with these signals ``blocked``.
    """
    if not sys.executable:
        raise UnsupportedError(
            f"start the helper process of {what}", 95,
            hint="sys.executable does not say where Python is, as in a program that embeds it",
        )  # fmt: skip
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {key: os.environ[key] for key in (*_KEPT, *variables) if key in os.environ}
    program = _START.format(FIRST + len(fds), most_descriptors(), module)
    argv = [sys.executable, "-I", "-S", "-c", program, package, *arguments]
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            return start(argv, environment, [null] * 3, fds, new_session=new_session, blocked=blocked)
        finally:
            os.close(null)
    except OSError as problem:
        file = sys.executable if problem.filename != os.devnull else os.devnull  # a bare chroot has none
        hint = f"It takes {file}"
        raise kernel_error(f"start the helper process of {what}", problem.errno or 0, hint=hint) from None


def spawn_server(
    module: str, what: str, *, new_session: bool = False, blocked: Collection[int] = ()
) -> tuple[socket, Orphan]:
    """A helper that serves this process: a socket to it, and itself, who has the other end and our pidfd."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        caller = os.pidfd_open(os.getpid())
        try:
            passed = [theirs.fileno(), caller]
            return ours, spawn_helper(module, passed, what, new_session=new_session, blocked=blocked)
        finally:
            os.close(caller)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def most_descriptors() -> int:
    """Above all numbers of descriptors."""
    most = os.sysconf("SC_OPEN_MAX")
    return most if 0 < most < _MOST else _MOST


def close_above(last: int) -> None:
    """In the helper: close whatever came beside what was passed."""
    os.closerange(last + 1, most_descriptors())
