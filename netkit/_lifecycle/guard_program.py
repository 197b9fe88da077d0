"""The guard's program: wait for the owner's end, undo what its journal says, end. See _system/guard.py."""

from __future__ import annotations

import os
import select
import sys
from _socket import socket

from netkit._lifecycle.claims import discard, living_claims, read_whole
from netkit._lifecycle.reclaim import GONE, REMOVED, Finding, Reclaiming
from netkit._system import sysctl as sysctl  # loaded now: when it is needed, the files may be gone
from netkit._system.held_places import held_in
from netkit._system.journal_lines import Contents, read, strike_line
from netkit._system.syscalls import CLONE_NEWNET, load, setns

JOURNAL, OWNER, PLACES = 3, 4, 5  # the descriptors that it starts with, besides /dev/null


def main() -> None:
    """What `_system.guard.start` runs; its argument is the journal's name, or empty."""
    path = sys.argv[2]
    load()
    _go_to_neutral_ground()
    _wait()
    said = read(read_whole(JOURNAL))
    left = [] if said is None else _undo(said)
    if path and not left:
        discard(path)
    os._exit(0)  # nothing is to be flushed, and taking the interpreter apart takes a millisecond or two


def _undo(said: Contents) -> list[Finding]:
    """What stays in the journal: `netkit gc` tells of it."""
    left: list[Finding] = []

    def settled(finding: Finding) -> None:
        if finding.outcome in (REMOVED, GONE) and finding.entry is not None:
            os.write(JOURNAL, strike_line(finding.entry.number))
        else:
            left.append(finding)

    held = dict(held_in(socket(fileno=PLACES)))
    Reclaiming(lambda: living_claims(said.owner), held=held).run([*said.entries.values()], settled)
    return left


def _go_to_neutral_ground() -> None:
    """Not to keep alive the namespace of the thread that has started us: that of process 1 never ends."""
    try:
        fd = os.open("/proc/1/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, CLONE_NEWNET)
        finally:
            os.close(fd)
    except OSError:
        return  # without the capability, only the owner's own namespace can be changed, and we are there


def _wait() -> None:
    poll = select.poll()
    poll.register(OWNER, select.POLLIN)
    while not poll.poll():
        continue
