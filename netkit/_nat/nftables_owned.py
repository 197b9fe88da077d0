"""What is in our own table, in step with the kernel's answers, and the requests that keep it tidy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netkit._nat.nftables_compile import chain_request
from netkit._nat.nftables_rules import RuleId, by_mark
from netkit._netlink import nft
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.nftables_rules import Place
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Request


class OwnedTable:
    """The rules of the owner table by mark, and how many each chain has.

    Nobody else can change the table, so what the kernel acknowledged is what is there. Chains and tables
    are there as long as they have rules.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._rules: dict[str, RuleId] = {}
        self._uses: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def __contains__(self, mark: str) -> bool:
        return mark in self._rules

    def __getitem__(self, mark: str) -> RuleId:
        return self._rules[mark]

    def known(self, rule_ids: Iterable[RuleId]) -> list[RuleId]:
        """Those that are here, as they are here, each once."""
        marks = {rule_id.mark: None for rule_id in rule_ids if rule_id.table == self.name}
        return [self._rules[mark] for mark in marks if mark in self._rules]

    def learn(self, rules: Iterable[Rule]) -> None:
        """Rules were added."""
        for mark, found in by_mark(self.name, rules).items():
            known = self._rules.get(mark)  # a spec of many ports may be cut by two batches
            self._rules[mark] = RuleId(mark, self.name, known.places + found.places) if known else found
            self._count(found.places, 1)

    def told(self, added: Sequence[tuple[str, int, str]], replies: Sequence[Reply]) -> None:
        """Rules were added: their marks, families and chains, and what the kernel tells of them.

        That has their handles, which few ever need: a table goes as a whole.
        """
        marks = dict.fromkeys([mark for mark, _, _ in added])
        if not self._rules.keys().isdisjoint(marks):
            self.learn(nft.parse_rules(replies))
            return
        read: dict[str, RuleId] = {}

        def places(mark: str) -> tuple[Place, ...]:
            if not read:
                read.update(by_mark(self.name, nft.parse_rules(replies)))
            found = read[mark].places if mark in read else ()
            if len(found) != [each for each, _, _ in added].count(mark):
                raise ProtocolError(f"the kernel has not told of all rules {mark!r} that it has added")
            return found

        self._rules.update({mark: RuleId(mark, self.name, places) for mark in marks})
        self._count([(family, chain, 0) for _, family, chain in added], 1)

    def forget(self, rule_ids: Iterable[RuleId]) -> None:
        """Rules were removed; of a mark perhaps not all."""
        for rule_id in rule_ids:
            left = tuple([p for p in self._rules.pop(rule_id.mark).places if p not in rule_id.places])
            if left:
                self._rules[rule_id.mark] = RuleId(rule_id.mark, self.name, left)
            self._count(rule_id.places, -1)

    def reset(self, rules: Iterable[Rule]) -> None:
        """This is all there is."""
        self._rules, self._uses = {}, {}
        self.learn(rules)

    def _count(self, places: Iterable[Place], step: int) -> None:
        uses = self._uses
        for family, chain, _ in places:
            uses[family, chain] = uses.get((family, chain), 0) + step
            if not uses[family, chain]:
                del uses[family, chain]

    def creation(self, chains: Iterable[tuple[int, str]]) -> list[Request]:
        """Requests for the chains, and their tables, that are not there yet."""
        tables = {family for family, _ in self._uses}
        requests: list[Request] = []
        for family, chain in sorted(chains):
            if family not in tables:
                tables.add(family)
                requests.append(nft.new_table(family, self.name, owner=True, exclusive=True))
            if (family, chain) not in self._uses:
                requests.append(chain_request(family, self.name, chain))
        return requests

    def deletion(self, leaving: Iterable[RuleId]) -> list[Request]:
        """Requests that delete rules, and the chains and tables that are empty then."""
        places = [place for rule_id in leaving for place in rule_id.places]
        left = dict(self._uses)
        for family, chain, _ in places:
            left[family, chain] -= 1
        staying = {family for (family, _), rules in left.items() if rules}
        emptied = sorted(chain for chain, rules in left.items() if not rules)
        emptied_tables = sorted({family for family, _ in emptied} - staying)
        return [
            *[nft.delete_rule(fam, self.name, chain, rule) for fam, chain, rule in places if fam in staying],
            *[nft.delete_chain(fam, self.name, chain) for fam, chain in emptied if fam in staying],
            *[nft.delete_table(fam, self.name) for fam in emptied_tables],
        ]


def slices(rule_ids: Iterable[RuleId], most: int) -> Iterator[list[RuleId]]:
    """The same in lists of at most ``most`` rules; a RuleId of many rules may be cut."""
    part: list[RuleId] = []
    room = most
    for rule_id in rule_ids:
        places = rule_id.places
        while places:
            part.append(RuleId(rule_id.mark, rule_id.table, places[:room]))
            places, room = places[room:], room - len(part[-1].places)
            if not room:
                yield part
                part, room = [], most
    if part:
        yield part
