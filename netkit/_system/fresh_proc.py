"""A procfs of one's own, in which nobody has looked for sysctls yet.

All namespaces' entries of /proc/sys/net have one name in one directory, and so are in one hash chain of the
dentry cache: whoever looks there for the first time is compared with all who did so before (proc_sys_compare
in fs/proc/proc_sysctl.c), 0.3 us each. A new procfs has entries of its own, and takes them along at its end.
"""

from __future__ import annotations

import os
from _thread import get_ident

from netkit._system.syscalls import new_mount
from netkit._system.sysctl_files import fresh_procs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_LOOKS = 128  # then a newer one costs less than to be compared with so many
_WORTH_IT = 100  # namespaces: up to here to make one takes as long as it saves


class FreshProc:
    """In ``with``, for the thread that it is on; ``count`` namespaces are to be there in the end.

    Without the right to mount one, /proc has to do.
    """

    def __init__(self, count: int) -> None:
        self._fd: int | None = None
        self._left = 0
        self._refused = count <= _WORTH_IT

    def __enter__(self) -> Self:
        fresh_procs[get_ident()] = self
        return self

    def __exit__(self, *exc: object) -> None:
        del fresh_procs[get_ident()]
        self._close()

    def descriptor(self) -> int | None:
        """Its root, for one more look; None where /proc has to do."""
        if self._left == 0 and not self._refused:
            self._renew()
        self._left -= 1
        return self._fd

    def _renew(self) -> None:
        self._close()
        try:
            self._fd = new_mount("proc")
        except OSError:  # CAP_SYS_ADMIN over the pid namespace is missing; or the kernel or libc is too old
            self._refused = True
        self._left = _LOOKS

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
