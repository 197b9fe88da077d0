"""Which process this is, without a system call: asked at every verb, so that a child made by
fork() never touches what its parent owns."""

from __future__ import annotations

import os

pid = os.getpid()  # for what is asked many times: `forks.pid`, of the module


def process() -> int:
    """This process's id."""
    return pid


def _renew() -> None:
    global pid
    pid = os.getpid()


os.register_at_fork(after_in_child=_renew)
