"""A helper process with pipes on its three standard streams, which is no child of this one."""

from __future__ import annotations

import os
from io import FileIO

from netkit._system.orphan import start
from netkit._system.signals import held_signals
from netkit._system.starting import start_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netkit._system.started import Process
    from netkit._system.starting import Fresh


class PipedHelper:
    """What ``subprocess.Popen(argv, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE)`` is, as far as needed."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        ends: list[int] = []
        try:
            for _ in range(3):
                ends += os.pipe2(os.O_CLOEXEC)
            theirs = [ends[0], ends[3], ends[5]]
            self._helper = start(argv, env, theirs, new_session=True)
        except BaseException:
            for fd in ends:
                os.close(fd)
            raise
        for fd in theirs:
            os.close(fd)
        self.pid = self._helper.pid
        self.stdin = FileIO(ends[1], "w")
        self.stdout = FileIO(ends[2])
        self.stderr = FileIO(ends[4])

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self._helper.kill()

    def wait(self) -> int | None:
        """Wait for its end; its status is told to its parent only."""
        self._helper.wait()
        return self._helper.end()

    def communicate(self) -> None:
        """Hang up, and wait for its end."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()
        self.wait()


def spawn_helper(fresh: Fresh, argv: Sequence[str], env: Mapping[str, str]) -> Process | PipedHelper:
    """A worker process of netkit's own, in its own session, with pipes on all three streams.

    It is no child of this process.
    """
    if hasattr(fresh, "popen"):  # without root the broker starts it
        from subprocess import PIPE

        from netkit._system.process import popen

        return popen(fresh, argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env, start_new_session=True)
    with held_signals():
        started: PipedHelper = start_with(fresh, PipedHelper, (argv, env), {})
    return started
