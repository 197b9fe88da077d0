"""A helper process of netkit's own: a fresh interpreter with parts of netkit, and few descriptors."""

from __future__ import annotations

import os
import sys

from netkit.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = 3  # the number of the first descriptor that is passed
# The package without its __init__, which would load what a helper has no use for.
_START = (
    "import sys; package = type(sys)('netkit'); package.__path__ = [sys.argv[1]]; "
    "sys.modules['netkit'] = package; from netkit._system.{} import main; main()"
)
_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")  # an interpreter may not start without


def spawn_helper(module: str, fds: Sequence[int], what: str, *, new_session: bool = False) -> int:
    """Run ``main()`` of a module of `_system` in a process of its own; its pid.

    It inherits nothing but these descriptors, numbered from FIRST, and gets no variable of the
    environment that the interpreter does not need. ``what`` it is for, in words, for an error.
    """
    if not sys.executable:
        raise UnsupportedError(
            f"start the helper process of {what}", 95,
            hint="sys.executable does not say where Python is, as in a program that embeds it",
        )  # fmt: skip
    # Above the numbers they are to have, so that none is overwritten before it is passed.
    import fcntl

    high: list[int] = []
    try:
        for fd in fds:
            high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST + len(fds)))
        actions = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(FIRST)]
        placed = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high, FIRST)]
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
        argv = [sys.executable, "-I", "-S", "-c", _START.format(module), package]
        return os.posix_spawn(
            sys.executable, argv, environment,
            file_actions=[*actions, *placed], setsigmask=(), setsid=new_session,
        )  # fmt: skip
    finally:
        for fd in high:
            os.close(fd)


def close_above(last: int) -> None:
    """In the helper: close whatever came beside what was passed."""
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(last + 1, most if most < 1 << 20 else 1 << 20)
