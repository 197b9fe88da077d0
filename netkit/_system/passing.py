"""Descriptors beside a message, to another process: SCM_RIGHTS of unix(7)."""

from __future__ import annotations

import time
from _socket import MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET, socket
from errno import ETOOMANYREFS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LOOKS = 1000  # of at least a millisecond. Not so many seconds: where no process has run meanwhile, as on a
_STEP = 0.001  # machine that stood still, nobody could fetch anything.


def pass_descriptors(sock: socket, data: bytes, fds: Sequence[int]) -> None:
    """Send a message with descriptors; they stay the caller's.

    A user without CAP_SYS_ADMIN and CAP_SYS_RESOURCE has no more of them on their way at once, of all
    processes together, than RLIMIT_NOFILE allows the one that sends (too_many_unix_fds in net/core/scm.c).
    It is others who fetch them, so this waits a while; the kernel tells nobody when there is room again.
    """
    rights = b"".join([fd.to_bytes(4, "little") for fd in fds])
    ancillary = [(SOL_SOCKET, SCM_RIGHTS, rights)] if fds else []
    looks = 0
    while True:
        try:
            sock.sendmsg([data], ancillary, MSG_NOSIGNAL)
            return
        except OSError as problem:
            looks += 1
            if problem.errno != ETOOMANYREFS or looks > LOOKS:
                raise
        time.sleep(_STEP)
