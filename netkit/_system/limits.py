"""Room for descriptors: for a teardown when the program has used up its own, and for many namespaces."""

from __future__ import annotations

import os
from errno import EMFILE
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit

from netkit.errors import kernel_error


class DescriptorLimit:
    """Lifts the soft limit of open files to the hard one for a while, which needs no capability.

    Undoing a sysctl or ending the processes of a namespace reads files of /proc, and a broker is sent the
    descriptor of the namespace; the limit is also that of how many are on their way. Source: getrlimit(2).
    """

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def lift(self) -> bool:
        """Whether there is more room now."""
        soft, hard = getrlimit(RLIMIT_NOFILE)
        if self._before is not None or soft == hard:
            return False
        setrlimit(RLIMIT_NOFILE, (hard, hard))
        self._before = soft, hard
        return True

    def restore(self) -> None:
        """What the program had set holds again."""
        before, self._before = self._before, None
        if before is not None:
            setrlimit(RLIMIT_NOFILE, before)


def make_room(count: int, operation: str, netns: str | None = None, instead: str = "") -> int:
    """Raise the soft limit of open files for ``count`` more; KernelError if the hard one is too low.

    The soft limit of 1024 is there for programs that use select(2) on what they open; namespaces are
    never waited for. It stays raised: the descriptors stay, too. Returns how many there will be.
    ``operation``, ``netns`` and ``instead`` are for the error, which comes before anything is done.
    """
    needed = len(os.listdir("/proc/self/fd")) + count
    wanted = needed + _TO_SPARE
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if hard != RLIM_INFINITY and needed > hard:
        hint = f"That takes {count} more open files, and this process may have {hard} in all (RLIMIT_NOFILE, "
        raise kernel_error(operation, EMFILE, netns=netns, hint=f"{hint}the hard limit){instead}")
    if soft != RLIM_INFINITY and wanted > soft < hard:
        setrlimit(RLIMIT_NOFILE, (wanted if hard == RLIM_INFINITY else min(wanted, hard), hard))
    return wanted


_TO_SPARE = 64  # for what the program itself opens beside them
