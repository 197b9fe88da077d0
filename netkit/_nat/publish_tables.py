"""The published ports of a namespace in nf_tables.

They stand in tables of our own (flag ``owner``), one for each family, beside that of the NAT rules: nobody
else can change them, and they go with this process. What is detached moves to the plain table ``netkit``.
"""

from __future__ import annotations

import os
from errno import ENOENT

from netkit._nat import publish_plain as plain
from netkit._nat.nftables_plain import TABLE
from netkit._nat.publish_books import Books
from netkit._nat.publish_mend import is_whole, mend
from netkit._nat.publish_part import (
    device_deletion,
    device_requests,
    entries_deletion,
    entries_requests,
    network_deletion,
    network_requests,
    place_of,
)
from netkit._nat.publish_rules import data_of, foundation, key_of, port_of
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_sets import dump_elements, get_element, parse_elements
from netkit.errors import ExistsError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.publish_part import Part
    from netkit._netlink.nft_sets import Element
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import Entry

_FEW = plain.FEW


class PublishedPorts(Books):
    """The mappings of this process in one namespace; threads may share it."""

    name = "nftables"
    plain = TABLE

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, f"netkit-ports-{os.urandom(4).hex()}")
        # What the tables have besides: it stays until the last entry of the family goes.
        self._lengths: set[tuple[int, int]] = set()
        self._guarded = False

    # -- add and remove -----------------------------------------------------------

    def creation(self, part: Part) -> list[Request]:
        """Requests that add it to our tables."""
        requests: list[Request] = []
        for family in sorted(part.families()):
            if not self._families[family]:
                requests.append(nft.new_table(family, self.where, owner=True, exclusive=True))
                requests += foundation(family, self.where)
        networks = [each for each in part.networks if not self._networks[each]]
        devices = [each for each in part.devices if not self._devices[each]]
        return [
            *requests,
            *network_requests(self.where, networks, self._lengths),
            *device_requests(self.where, devices, guarded=self._guarded),
            *entries_requests(self.where, part.maps, part.words),
        ]

    def deletion(self, part: Part) -> list[Request]:
        """Requests that take it out of our tables; a table goes with its last entry."""
        left = self._left(part)
        networks = [e for e in part.networks if self._networks[e] == 1 and left[e[0]]]
        devices = [e for e in part.devices if self._devices[e] == 1 and left[NFPROTO_IPV4]]
        staying = {place: content for place, content in part.maps.items() if left[place[0]]}
        return [
            *entries_deletion(self.where, staying, part.words),
            *network_deletion(self.where, networks),
            *device_deletion(self.where, devices),
            *[nft.delete_table(f, self.where) for f in sorted(part.families()) if not left[f]],
        ]

    def _add(self, part: Part) -> None:
        detached = plain.detached_of(self._runtime.netfilter, part)
        if detached is not None:
            raise self._held_detached(*port_of(detached[0]), detached[1])
        self._change(self.creation(part))

    def learn(self, part: Part) -> None:
        """It is there."""
        super().learn(part)
        self._lengths |= {(family, length) for family, _, length in part.networks}
        self._guarded = self._guarded or bool(part.devices)

    def unlearn(self, part: Part) -> None:
        """It is not there any more."""
        super().unlearn(part)
        self._lengths = {each for each in self._lengths if self._families[each[0]]}
        self._guarded = self._guarded and bool(self._families[NFPROTO_IPV4])

    def _ask(self, change: list[Request]) -> None:
        if change:
            self._runtime.netfilter.transact(nft.transaction(change))

    def _ask_anew(self, parts: list[Part]) -> None:
        requests: list[Request] = []
        for family in (NFPROTO_IPV4, NFPROTO_IPV6):
            requests.append(nft.new_table(family, self.where, owner=True))
            requests.append(nft.delete_table(family, self.where))
        for change in self._learning(parts):
            requests += change
        self._ask(requests)

    # -- detach and adopt ---------------------------------------------------------

    def detach(self, part: Part) -> None:
        """Move it to the plain table."""
        try:
            plain.detach(self, self._runtime.netfilter, part)
        except ExistsError as problem:
            raise self._detached_already(part) from problem

    def adopt(self, part: Part) -> None:
        """Move it from there into ours."""
        plain.adopt(self, self._runtime.netfilter, part)

    def mend(self, part: Part) -> None:
        """Put back what is missing of it there."""
        mend(self._runtime.netfilter, part)

    def guarded_devices(self) -> set[str]:
        """The devices that have route_localnet for what is detached."""
        return plain.guarded_devices(self._runtime.netfilter)

    # -- reading ------------------------------------------------------------------

    def counters(self, part: Part, where: str) -> tuple[int, int]:
        """Packets and bytes; NotFoundError if an entry is gone, or leads elsewhere now."""
        counted = [each.counters for each in self._elements(part, where)]
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, part: Part, where: str) -> bool:
        """Whether all are there."""
        try:
            found = len(self._elements(part, where))
        except NotFoundError:
            return False
        if found != len(part) or where == self.where:  # nobody else takes anything out of our own
            return found == len(part)
        return is_whole(self._runtime.netfilter, part)

    def _elements(self, part: Part, table: str) -> list[Element]:
        """The entries as the kernel has them: one by one, or of many by reading the whole maps."""
        if len(part) <= _FEW:
            return [self.element(entry, table) for entry in part.specs.entries()]
        found: list[Element] = []
        for (family, name), content in part.maps.items():
            request = dump_elements(family, table, name)
            present = {each.key: each for each in parse_elements(self._runtime.netfilter.dump(request))}
            for key, data in content.items():
                element = present.get(key)
                if element is None or element.data != data:
                    raise NotFoundError(request.operation, ENOENT, netns=self._runtime.label)
                found.append(element)
        return found

    def element(self, entry: Entry, table: str) -> Element:
        """The entry as the kernel has it; NotFoundError if it is not there, or leads elsewhere."""
        family, name = place_of(entry)
        request = get_element(family, table, name, key_of(entry))
        for found in parse_elements([self._runtime.netfilter.get(request)]):
            if found.data == data_of(entry):
                return found
        raise NotFoundError(
            request.operation, ENOENT, netns=self._runtime.label, hint="It leads elsewhere now"
        )
