"""Rules for transparent proxies: packets for others are given to a socket here, their addresses unchanged.

Such a packet is for an address that this machine does not have, so routing would pass it on. The rule marks
it, a policy rule leads what is marked to a table of its own, and a route there says that every address is
local (the kernel's Documentation/networking/tproxy.rst). Each rule has a table of its own: two of them share
nothing that the first one to end would take from the other.

What a transparent socket has already is marked, too, wherever it comes from (`socket transparent 1`): a proxy
that asks the server in its client's name is answered at the client's address, by the other device.
"""

from __future__ import annotations

from binascii import crc32
from errno import EAFNOSUPPORT, EEXIST, ENOENT, EOPNOTSUPP

from netkit._lifecycle import Holder
from netkit._lifecycle.owned import refuse_second_owner
from netkit._nat.rule import NatRule
from netkit._netlink.rule import delete_rule
from netkit._route import RouteTable
from netkit._rule import Rules
from netkit._spec.rules import Rule
from netkit._system.signals import deferred_signals
from netkit.errors import ExistsError, KernelError, NotFoundError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal

    from netkit._lifecycle import Undo
    from netkit._namespace import Namespace
    from netkit._spec.nat import NatSpec

_TABLES = 0x6E000000  # and 24 bits of what the rule says: whoever adopts it knows its table
_LOOPBACK = "lo"


class TproxyRule(NatRule, Holder):
    """The NatRule that `NatRule.tproxy` makes."""

    def __init__(
        self, ns: Namespace, spec: NatSpec, backend: Literal["nftables", "iptables"] | None = None
    ) -> None:
        NatRule.__init__(self, ns, spec, backend)
        self._table = _TABLES | crc32(str(spec).encode()) & 0xFFFFFF

    def _create(self, undo: Undo) -> None:
        self._deliver(undo)  # first: what is marked is to be delivered
        try:
            super()._create(undo)
        except NotFoundError as problem:
            raise _unsupported(problem) from problem

    @classmethod
    def _begin_many(cls, members: Sequence[Any], group: int, progress: Callable[[int], object]) -> None:
        for member in members:
            member._begin(group)
            progress(1)

    # -- delivery of what is marked ---------------------------------------------------

    def _deliver(self, undo: Undo | None = None) -> None:
        with deferred_signals():
            routes, rules = RouteTable(self._netns, self._table), self._netns.rules
            for block in (routes, rules):
                block.__enter__()
                self._hold(block)
                if undo is not None:
                    undo.add(block.close)
            for family in self._versions():
                try:
                    self._deliver_family(family, routes, rules)
                except KernelError as problem:
                    absent = family == 6 and problem.errno in (EAFNOSUPPORT, EOPNOTSUPP)
                    if not absent or self._says.family is not None:
                        raise  # a kernel without IPv6 (ipv6.disable=1) has none to deliver

    def _deliver_family(self, family: Literal[4, 6], routes: RouteTable, rules: Rules) -> None:
        try:
            routes.add("default", dev=_LOOPBACK, type="local", family=family)
        except ExistsError as problem:
            hint = f"Such a rule is there, with table {self._table}: adopt() takes over what was detached"
            raise ExistsError(
                f"add NAT rule '{self._says}'", EEXIST, netns=problem.netns, hint=hint
            ) from None
        rules.add(fwmark=self._mark(), table=self._table, family=family)

    def _mark(self) -> str:
        return f"{self._says.mark:#x}/{self._says.mark:#x}"

    def _versions(self) -> tuple[Literal[4, 6], ...]:
        family = self._says.family
        return (4, 6) if family is None else (4 if family == 4 else 6,)

    def _delivering(self, family: Literal[4, 6]) -> list[Rule]:
        return [rule for rule in self._netns.rules.filter(family=family) if rule.table == self._table]

    def _is_delivered(self, family: Literal[4, 6]) -> bool:
        routes = RouteTable(self._netns, self._table).filter(type="local", family=family)
        return bool(routes) and bool(self._delivering(family))

    def _take_delivery(self) -> None:
        """Own what another process, or this one, has left."""
        if self._held:
            return
        with deferred_signals():
            routes, rules = RouteTable(self._netns, self._table), self._netns.rules
            for block in (routes, rules):
                block.__enter__()
                self._hold(block)
            for family in self._versions():
                for route in RouteTable(self._netns, self._table).filter(type="local", family=family):
                    routes.adopt(route)
                for rule in self._delivering(family):
                    rules._expect(rule, delete_rule(rule, exact=True))

    def _leave_delivery(self) -> None:
        for block in list(self._held):
            assert isinstance(block, (RouteTable, Rules))
            block.detach()
            block.close()

    # -- the rest of its life -----------------------------------------------------------

    def _exists(self) -> bool:
        return super()._exists() and self._is_whole()

    def _is_whole(self) -> bool:
        return all(self._is_delivered(family) for family in self._versions() if self._has(family))

    def _has(self, family: Literal[4, 6]) -> bool:
        """Whether the kernel has the family at all: rules of its own are there then."""
        try:
            return self._says.family is not None or bool(self._netns.rules.filter(family=family))
        except KernelError:
            return False

    def _detach(self) -> None:
        super()._detach()
        self._leave_delivery()

    def _find(self) -> None:
        super()._find()
        refuse_second_owner(self)  # before anything that belongs to it is taken
        self._take_delivery()

    def _lose(self) -> None:
        super()._lose()
        self._leave_delivery()

    def _adopt(self) -> None:
        super()._adopt()
        self._take_delivery()

    def _restore(self) -> None:
        super()._restore()
        if not self._is_whole():
            detached = self._state == "borrowed"
            self._take_delivery()
            for block in list(self._held):
                assert isinstance(block, (RouteTable, Rules))
                block.close()
            self._deliver()
            if detached:
                self._leave_delivery()


def _unsupported(problem: NotFoundError) -> UnsupportedError:
    hint = (
        "The kernel lacks CONFIG_NFT_TPROXY or CONFIG_NFT_SOCKET (modules nft_tproxy, nft_socket), or "
        "CONFIG_NETFILTER_XT_TARGET_TPROXY or CONFIG_NETFILTER_XT_MATCH_SOCKET"
    )
    return UnsupportedError(problem.operation, problem.errno or ENOENT, netns=problem.netns, hint=hint)
