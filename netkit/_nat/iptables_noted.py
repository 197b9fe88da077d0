"""Rules of iptables-legacy with their entries in the journal: they outlive this process, and bear no mark."""

from __future__ import annotations

from netkit._nat.iptables_rules import rule_text
from netkit._system.entries import IPTABLES
from netkit._system.journal import note, strike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from netkit._nat.iptables_rules import Rule


class NotedRules(list["Rule"]):
    """The rules of one NatRule."""

    _noted: tuple[int, ...] = ()

    def note(self, place: str, listing: Callable[[int, str], list[str]] | None) -> None:
        """Note each, with how many equal ones there are: only one more than those is ours.

        Without ``listing`` it is there already.
        """
        for rule in self:
            family, table, text = rule["family"], rule["table"], rule_text(rule)
            before = 0 if listing is None else listing(family, table).count(text)
            self._noted += (note(IPTABLES, place, family, table, text, before),)

    def strike(self) -> None:
        """They are gone, or not ours any more."""
        noted, self._noted = self._noted, ()
        for each in noted:
            strike(each)
