"""Descriptors for a teardown when the program has used up its own."""

from __future__ import annotations

from resource import RLIMIT_NOFILE, getrlimit, setrlimit


class DescriptorLimit:
    """Lifts the soft limit of open files to the hard one for a while, which needs no capability.

    Undoing a sysctl or ending the processes of a namespace reads files of /proc. Source: getrlimit(2).
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
