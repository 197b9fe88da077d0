"""gc: what dead processes have left is found, and removed."""

from __future__ import annotations

from netkit._lifecycle.collect import collect
from netkit._lifecycle.reclaim import GONE, REMOVED
from netkit._spec.numbers import boolean
from netkit._spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._lifecycle.collect import Collected


class Leftover(Value):
    """One thing that a dead process had made: ``what`` it is in words, and what became of it.

    ``outcome`` is ``"removed"`` (with ``dry_run``: ``"would be removed"``), ``"left alone"`` (something of
    somebody else is in its place, or removing it takes root) or ``"failed"``; ``reason`` says why.
    ``owner`` is who made it, ``PID-RANDOM`` as in its journal's name, or empty where that is lost.
    """

    __slots__ = _fields = ("what", "outcome", "reason", "owner")
    what: str
    outcome: str
    reason: str
    owner: str

    def __init__(self, what: str, outcome: str, reason: str = "", owner: str = "") -> None:
        _set(self, "what", what)
        _set(self, "outcome", outcome)
        _set(self, "reason", reason)
        _set(self, "owner", owner)

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.what} ({self.outcome}{reason})"


_set = object.__setattr__


def gc(*, dry_run: bool = False) -> list[Leftover]:
    """Remove what dead processes have left, and nothing else; returns what was found.

    It goes through the journals in /run/netkit/journal whose owners are dead, and so are their guards, and
    compares each entry with what the kernel has now. Where a journal is lost, links are found by their
    tags (in the calling thread's namespace and the named ones), and names in /run/netns that lead nowhere.
    With ``dry_run`` nothing is removed. Twin: the command ``netkit gc``.

    Nothing of a living process is touched, nothing that only looks like netkit's (a name, a comment, an
    alias), and nothing of another boot. Only journals of this user are read.

    Needs CAP_SYS_ADMIN and CAP_NET_ADMIN to remove anything. Without them it says what it sees of others,
    each "left alone"; of what is made without root nothing is ever left, for it ends with its process.

    Examples:
        >>> import netkit
        >>> for leftover in netkit.gc(dry_run=True):
        ...     print(leftover)
    """
    found = collect(boolean(dry_run, "dry_run"))
    return [_leftover(each, dry_run) for each in found if each.finding.outcome != GONE]


def _leftover(found: Collected, dry_run: bool) -> Leftover:
    finding = found.finding
    outcome = f"would be {REMOVED}" if dry_run and finding.outcome == REMOVED else finding.outcome
    return Leftover(finding.what, outcome, finding.reason, found.owner)
