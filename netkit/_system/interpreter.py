"""A helper process of netkit's own: a fresh interpreter with parts of netkit, and few descriptors."""

from __future__ import annotations

import os
import sys

from netkit.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FIRST = 3  # the number of the first descriptor that is passed
# The packages without their __init__, which would load what a helper has no use for.
_START = """
import sys
for name in ("netkit", "netkit._lifecycle"):
    package = sys.modules[name] = type(sys)(name)
    package.__path__ = [sys.argv[1] + name[6:].replace(".", "/")]
from netkit.{} import main
main()
"""
_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")  # an interpreter may not start without


def spawn_helper(
    module: str,
    fds: Sequence[int],
    what: str,
    *arguments: str,
    new_session: bool = False,
    blocked: Collection[int] = (),
    variables: Sequence[str] = (),
) -> int:
    """Run ``main()`` of a module, such as ``_system.broker_server``, in a process of its own; its pid.

    It inherits nothing but these descriptors, numbered from FIRST, finds the ``arguments`` from
    ``sys.argv[2]`` on, and gets no ``variables`` of the environment that the interpreter does not need but
    these. ``what`` it is for, in words, for an error. It begins with these signals ``blocked``.
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
        environment = {key: os.environ[key] for key in (*_KEPT, *variables) if key in os.environ}
        argv = [sys.executable, "-I", "-S", "-c", _START.format(module), package, *arguments]
        return os.posix_spawn(
            sys.executable, argv, environment,
            file_actions=[*actions, *placed], setsigmask=blocked, setsid=new_session,
        )  # fmt: skip
    finally:
        for fd in high:
            os.close(fd)


def close_above(last: int) -> None:
    """In the helper: close whatever came beside what was passed."""
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(last + 1, most if most < 1 << 20 else 1 << 20)
