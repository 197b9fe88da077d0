"""Rules of iptables-legacy with their entries in the journal: they outlive this process, and bear no mark."""

from __future__ import annotations

from netkit._nat.iptables_rules import rule_text
from netkit._system.entries import IPTABLES, IptablesEntry
from netkit._system.journal import journal, note, strike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from netkit._lifecycle import Owned
    from netkit._lifecycle.claims import LegacyRule
    from netkit._nat.iptables_rules import Rule
    from netkit._runtime import Runtime

    Key: TypeAlias = tuple[int, str, str]  # family, table, and the rule as it is listed
    Listing: TypeAlias = Callable[[int, str], list[str]]


class NotedRules(list["Rule"]):
    """The rules of one NatRule."""

    _noted: tuple[int, ...] = ()

    def note(self, runtime: Runtime, before: Mapping[Key, int] | None = None) -> None:
        """Note each, with how many equal ones were there before that are no process's: only one more is ours.

        What is noted is not noted again.
        """
        for key in () if self._noted else map(_key, self):
            self._noted += (note(IPTABLES, runtime.place, *key, (before or {}).get(key, 0)),)

    def inherit(self, runtime: Runtime) -> None:
        """They were adopted: of a dead process that had noted such, one of each is these."""
        from netkit._lifecycle.inheritance import inherit_legacy_rule

        for key in map(_key, self):
            inherit_legacy_rule(runtime.opener.journals, (runtime.place, *key))

    def strike(self) -> None:
        """They are gone, or not ours any more."""
        noted, self._noted = self._noted, ()
        for each in noted:
            strike(each)


def note_new(tokens: Iterable[NotedRules], runtime: Runtime, listing: Listing) -> None:
    """Note what is about to be made: all is counted before any of it is noted."""
    keys = {_key(rule) for rules in tokens for rule in rules}
    there = _counted(keys, listing)
    before = _nobodys(there, runtime, listing) if there else None
    for rules in tokens:
        rules.note(runtime, before)


def _counted(keys: Iterable[Key], listing: Listing) -> dict[Key, int]:
    """How many there are of those that are there."""
    listed = {table: listing(*table) for table in {key[:2] for key in keys}}
    return {key: count for key in keys if (count := listed[key[:2]].count(key[2]))}


def _nobodys(keys: Iterable[Key], runtime: Runtime, listing: Listing) -> Mapping[Key, int]:
    """How many of the rules that are there no process has noted, this one among them.

    Those of the dead are somebody's, too: whoever collects them takes them away. It is asked before and after
    the rules are counted: a guard may be taking some away just now, another process be adding some.
    """
    from netkit._lifecycle.claims import legacy_rule, noted_rules

    here = [legacy_rule(IptablesEntry(each)) for each in journal.entries() if each.kind == IPTABLES]
    earlier = noted_rules(runtime.opener.journals)
    there = _counted(keys, listing)
    later = noted_rules(runtime.opener.journals)
    owned: dict[LegacyRule, int] = {}
    for rule, owner in {**earlier, **later}:
        most = max(each.get((rule, owner), 0) for each in (earlier, later))
        owned[rule] = owned.get(rule, 0) + most
    noted = {key: (runtime.place, *key) for key in there}
    return {
        key: max(0, count - here.count(noted[key]) - owned.get(noted[key], 0)) for key, count in there.items()
    }


def owner_of(
    runtime: Runtime, listing: Listing, rules: Iterable[Rule], others: Iterable[tuple[Owned, Iterable[Rule]]]
) -> Owned | str | None:
    """Who owns all that are equal to one of these: one of ``others``, or another process, in words.

    Equal rules do the same, and which one is whose makes no difference: there is one to adopt if the kernel
    has more than are owned. What its owner is about to make, or has just removed, counts as owned.
    """
    from netkit._lifecycle.claims import living_claims

    directory = runtime.opener.journals
    noted = living_claims(journal.owner, directory).rules if directory else {}
    owned = [(owner, _key(each)) for owner, token in others for each in token]
    for rule in rules:
        key = _key(rule)
        owners: list[Owned | str] = [owner for owner, other in owned if other == key]
        owners += noted.get((runtime.place, *key), ()) if directory else ()
        if owners and listing(key[0], key[1]).count(key[2]) <= len(owners):
            return owners[0]
    return None


def _key(rule: Rule) -> Key:
    return rule["family"], rule["table"], rule_text(rule)
