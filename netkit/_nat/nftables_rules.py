"""How the rules made for one NatSpec are found again: by the mark in their comments, and by their handles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from errno import ENOENT, ERESTART

from netkit._netlink import nft
from netkit._spec.value import Value
from netkit.errors import KernelError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import NetlinkSocket, Reply
    from netkit._netlink.wire import Request

    # Family of the table, chain, handle.
    Place = tuple[int, str, int]

_set = object.__setattr__
_PREFIX = "netkit:"
_TRIES = 16


class RuleId(Value):
    """The rules of one NatSpec (one per chain, port and table): their mark, table, and handles.

    ``mark`` is what ``nft list`` shows as their comment. A handle is unique for the life of its table
    only, so whoever goes by a handle looks at the mark too.
    """

    __slots__ = ("_places", "mark", "table")
    _fields = ("mark", "table", "places")

    mark: str
    table: str
    _places: tuple[Place, ...] | Callable[[str], tuple[Place, ...]]

    def __init__(
        self, mark: str, table: str, places: tuple[Place, ...] | Callable[[str], tuple[Place, ...]]
    ) -> None:
        _set(self, "mark", mark)
        _set(self, "table", table)
        _set(self, "_places", places)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the rules are; of new ones the kernel's answer is read when somebody asks."""
        found = self._places
        if callable(found):
            found = found(self.mark)
            _set(self, "_places", found)
        return found

    def chains(self) -> set[tuple[int, str]]:
        """Family and name of the chains its rules are in."""
        return {(family, chain) for family, chain, _ in self.places}


def new_mark() -> str:
    """A mark that nobody else has: 64 random bits."""
    return _PREFIX + os.urandom(8).hex()


def by_mark(table: str, rules: Iterable[Rule]) -> dict[str, RuleId]:
    """The rules of a table that carry a mark, one RuleId for each mark, oldest first."""
    places: dict[str, list[Place]] = {}
    for rule in rules:
        mark = rule.comment
        if rule.table == table and mark is not None and mark.startswith(_PREFIX):
            places.setdefault(mark, []).append((rule.family, rule.chain, rule.handle))
    return {mark: RuleId(mark, table, tuple(sorted(found, key=_handle))) for mark, found in places.items()}


def _handle(place: Place) -> tuple[int, int]:
    return place[0], place[2]


def read_table(socket: NetlinkSocket, table: str) -> list[Rule]:
    """The rules of the tables with that name, of each family; none where there is no table.

    A dump each: of family unspec, the kernel dumps the first table with the name and stops.
    """
    dumps = [socket.dump(nft.dump_rules(family, table)) for family in nft.FAMILY_NAMES]
    return [rule for replies in dumps for rule in nft.parse_rules(replies)]


def read_rules(socket: NetlinkSocket, rule_id: RuleId) -> list[Rule]:
    """The rules as they are now; NotFoundError if one is gone, or its handle is another rule's."""
    return [_read(socket, rule_id, place) for place in rule_id.places]


def _read(socket: NetlinkSocket, rule_id: RuleId, place: Place) -> Rule:
    family, chain, handle = place
    request = nft.get_rule(family, rule_id.table, chain, handle)
    rule = nft.parse_rule(socket.get(request))
    if rule is None or rule.comment != rule_id.mark:
        raise gone(rule_id.mark, request.operation, socket.label)
    return rule


def gone(mark: str, operation: str, netns: str | None) -> KernelError:
    """NotFoundError for a rule that is not there under its mark."""
    return kernel_error(operation, ENOENT, netns=netns, hint=f"No rule has the comment {mark!r} any more")


def change_what_was_read(socket: NetlinkSocket, build: Callable[[], list[Request]]) -> list[Reply]:
    """Send a transaction that rests on reading; if anybody changed anything meanwhile, build it again.

    Without requests nothing is sent.
    """
    for attempt in range(_TRIES):
        generation = nft.parse_generation(socket.get(nft.get_generation()))
        requests = build()
        if not requests:
            return []
        try:
            return socket.transact(nft.transaction(requests, generation))
        except KernelError as problem:
            if problem.errno != ERESTART or attempt == _TRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")
