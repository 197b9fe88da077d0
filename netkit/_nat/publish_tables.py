"""The published ports of a namespace: what this process has put there, in step with the kernel.

They stand in tables of our own (flag ``owner``), one for each family, beside that of the NAT rules: nobody
else can change them, and they go with this process. What is detached moves to the plain table ``netkit``.
"""

from __future__ import annotations

import os
from collections import Counter
from errno import EEXIST, ENOENT
from threading import Lock

from netkit._nat.publish_part import (
    device_deletion,
    device_requests,
    entries_deletion,
    entries_requests,
    network_deletion,
    network_requests,
    place_of,
)
from netkit._nat.publish_rules import data_of, foundation, key_of
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_sets import dump_elements, get_element, parse_elements
from netkit.errors import ExistsError, KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.publish_part import Network, Part, Place
    from netkit._netlink.nft_sets import Element
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import Entry, PublishSpec


def _families(part: Part) -> Counter[int]:
    """How many entries it has in the tables of each family."""
    found: Counter[int] = Counter()
    for (family, _), content in part.maps.items():
        found[family] += len(content)
    return found


_FEW = 16  # each costs a request; beyond, a dump costs less


class PublishedPorts:
    """The mappings of this process in one namespace; threads may share it."""

    def __init__(self, runtime: Runtime) -> None:
        self.table = f"netkit-ports-{os.urandom(4).hex()}"
        self._runtime = runtime
        self._lock = Lock()
        self._keys: dict[Place, dict[bytes, Part]] = {}
        self._parts: dict[Part, None] = {}
        self._families: Counter[int] = Counter()
        self._networks: Counter[Network] = Counter()
        self._devices: Counter[str] = Counter()
        # What the tables have besides: it stays until the last entry of the family goes.
        self._lengths: set[tuple[int, int]] = set()
        self._guarded = False
        self._stale = False

    def close(self) -> None:
        """The tables go with the socket, which the runtime closes."""

    # -- add and remove -----------------------------------------------------------

    def add(self, part: Part) -> None:
        """Add all of it in one transaction, or nothing. ExistsError for a port that is published already."""
        with self._lock:
            self._settle()
            self.check_free(part)
            self._transact(self.creation(part))
            self.learn(part)

    def remove(self, part: Part) -> None:
        """Remove it; gone already is success."""
        with self._lock:
            self._settle()
            if part in self._parts:
                requests = self.deletion(part)
                self.unlearn(part)  # first: after an interrupt, _settle makes the kernel follow
                try:
                    self._transact(requests)
                except NotFoundError:
                    self._stale = True
                    self._settle()

    def check_free(self, part: Part) -> None:
        """ExistsError if a port of it is published by this process, or twice in it."""
        if part.twice is not None:
            raise self._taken(part.twice, part)
        for place, content in part.maps.items():
            known = self._keys.get(place, {})
            for key in known.keys() & content.keys():
                raise self._taken(part.entry_of(place, key), known[key])

    def _taken(self, entry: Entry, by: Part) -> ExistsError:
        operation = f"publish {entry.proto_name} port {entry.port}"
        hint = f"This program has published it: {by.words}"
        return ExistsError(operation, EEXIST, netns=self._runtime.label, hint=hint)

    def creation(self, part: Part) -> list[Request]:
        """Requests that add it to our tables."""
        requests: list[Request] = []
        for family in sorted(part.families()):
            if not self._families[family]:
                requests.append(nft.new_table(family, self.table, owner=True, exclusive=True))
                requests += foundation(family, self.table)
        networks = [each for each in part.networks if not self._networks[each]]
        devices = [each for each in part.devices if not self._devices[each]]
        return [
            *requests,
            *network_requests(self.table, networks, self._lengths),
            *device_requests(self.table, devices, guarded=self._guarded),
            *entries_requests(self.table, part.maps, part.words),
        ]

    def deletion(self, part: Part) -> list[Request]:
        """Requests that take it out of our tables; a table goes with its last entry."""
        left = self._families - _families(part)
        networks = [e for e in part.networks if self._networks[e] == 1 and left[e[0]]]
        devices = [e for e in part.devices if self._devices[e] == 1 and left[NFPROTO_IPV4]]
        staying = {place: content for place, content in part.maps.items() if left[place[0]]}
        return [
            *entries_deletion(self.table, staying, part.words),
            *network_deletion(self.table, networks),
            *device_deletion(self.table, devices),
            *[nft.delete_table(f, self.table) for f in sorted(part.families()) if not left[f]],
        ]

    def learn(self, part: Part) -> None:
        """It is there."""
        self._parts[part] = None
        for place, content in part.maps.items():
            self._keys.setdefault(place, {}).update(dict.fromkeys(content, part))
        self._families.update(_families(part))
        self._networks.update(part.networks)
        self._devices.update(part.devices)
        self._lengths |= {(family, length) for family, _, length in part.networks}
        self._guarded = self._guarded or bool(part.devices)

    def unlearn(self, part: Part) -> None:
        """It is not there any more."""
        self._parts.pop(part, None)
        for place, content in part.maps.items():
            known = self._keys[place]
            for key in content:
                del known[key]
        self._families -= _families(part)
        self._networks -= Counter(part.networks)
        self._devices -= Counter(part.devices)
        self._lengths = {each for each in self._lengths if self._families[each[0]]}
        self._guarded = self._guarded and bool(self._families[NFPROTO_IPV4])

    # -- reading ------------------------------------------------------------------

    def specs(self) -> list[PublishSpec]:
        """What this process has published here."""
        with self._lock:
            return [spec for part in self._parts for spec in part.specs]

    def counters(self, part: Part, table: str) -> tuple[int, int]:
        """Packets and bytes; NotFoundError if an entry is gone, or leads elsewhere now."""
        counted = [each.counters for each in self._elements(part, table)]
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, part: Part, table: str) -> bool:
        """Whether all are there."""
        try:
            return len(self._elements(part, table)) == len(part.entries)
        except NotFoundError:
            return False

    def _elements(self, part: Part, table: str) -> list[Element]:
        """The entries as the kernel has them: one by one, or of many by reading the whole maps."""
        if len(part.entries) <= _FEW:
            return [self.element(entry, table) for entry in part.entries]
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

    # -- the change, and what follows one with an unknown outcome ------------------------

    def _transact(self, requests: list[Request]) -> None:
        if not requests:
            return
        try:
            self._runtime.netfilter.transact(nft.transaction(requests))
        except KernelError:
            raise  # refused as a whole: nothing changed
        except BaseException:
            self._stale = True
            raise

    def _settle(self) -> None:
        """Whatever is there, make it what it should be, from the ground up; counters begin anew."""
        if not self._stale:
            return
        parts = list(self._parts)
        requests: list[Request] = []
        for family in (NFPROTO_IPV4, NFPROTO_IPV6):
            requests.append(nft.new_table(family, self.table, owner=True))
            requests.append(nft.delete_table(family, self.table))
        for part in parts:
            self.unlearn(part)
        try:
            for part in parts:
                requests += self.creation(part)
                self.learn(part)
            self._runtime.netfilter.transact(nft.transaction(requests))
        finally:
            for part in parts:
                if part not in self._parts:
                    self.learn(part)
        self._stale = False
