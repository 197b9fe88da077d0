"""Which process this is, without a system call: asked at every verb, so that a child made by
fork() never touches what its parent owns."""

from __future__ import annotations

import os

_pid = os.getpid()


def process() -> int:
    """This process's id."""
    return _pid


def _renew() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_renew)
