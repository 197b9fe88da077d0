"""The published ports of a namespace: what this process has put there, in step with the kernel.

They stand in tables of our own (flag ``owner``), one for each family, beside that of the NAT rules: nobody
else can change them, and they go with this process. What is detached moves to the plain table ``netkit``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from threading import Lock

from netkit._nat.publish_part import (
    device_deletion,
    device_requests,
    entries_requests,
    network_deletion,
    network_requests,
    place_of,
)
from netkit._nat.publish_rules import data_of, foundation
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_sets import get_element, parse_elements
from netkit.errors import ExistsError, KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.publish_part import Network, Part, Place
    from netkit._netlink.nft_sets import Element
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import Entry

_EXISTS = 17


class PublishedPorts:
    """The mappings of this process in one namespace; threads may share it."""

    def __init__(self, runtime: Runtime) -> None:
        self.table = f"netkit-ports-{os.urandom(4).hex()}"
        self._runtime = runtime
        self._lock = Lock()
        self._places: dict[Place, Part] = {}
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
        seen: set[Place] = set()
        for place, entry in part.places():
            other = self._places.get(place)
            if other is not None or place in seen:
                raise ExistsError(
                    f"publish {entry.proto_name} port {entry.port}",
                    _EXISTS,
                    netns=self._runtime.label,
                    hint=f"This program has published it: {part.words if other is None else other.words}",
                )
            seen.add(place)

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
            *entries_requests(self.table, part.entries, part.words, adding=True),
        ]

    def deletion(self, part: Part) -> list[Request]:
        """Requests that take it out of our tables; a table goes with its last entry."""
        left = self._families - Counter(place[0] for place, _ in part.places())
        networks = [e for e in part.networks if self._networks[e] == 1 and left[e[0]]]
        devices = [e for e in part.devices if self._devices[e] == 1 and left[NFPROTO_IPV4]]
        staying = [entry for entry in part.entries if left[place_of(entry)[0]]]
        return [
            *entries_requests(self.table, staying, part.words, adding=False),
            *network_deletion(self.table, networks),
            *device_deletion(self.table, devices),
            *[nft.delete_table(f, self.table) for f in sorted(part.families()) if not left[f]],
        ]

    def learn(self, part: Part) -> None:
        """It is there."""
        self._parts[part] = None
        self._places.update((place, part) for place, _ in part.places())
        self._families.update(place[0] for place, _ in part.places())
        self._networks.update(part.networks)
        self._devices.update(part.devices)
        self._lengths |= {(family, length) for family, _, length in part.networks}
        self._guarded = self._guarded or bool(part.devices)

    def unlearn(self, part: Part) -> None:
        """It is not there any more."""
        self._parts.pop(part, None)
        for place, _ in part.places():
            if self._places.get(place) is part:
                del self._places[place]
        self._families -= Counter(place[0] for place, _ in part.places())
        self._networks -= Counter(part.networks)
        self._devices -= Counter(part.devices)
        self._lengths = {each for each in self._lengths if self._families[each[0]]}
        self._guarded = self._guarded and bool(self._families[NFPROTO_IPV4])

    # -- reading ------------------------------------------------------------------

    def counters(self, entries: Iterable[Entry], table: str) -> tuple[int, int]:
        """Packets and bytes; NotFoundError if one is gone, or leads elsewhere now."""
        counted = [self.element(entry, table).counters for entry in entries]
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, entries: Iterable[Entry], table: str) -> bool:
        """Whether all are there."""
        try:
            for entry in entries:
                self.element(entry, table)
        except NotFoundError:
            return False
        return True

    def element(self, entry: Entry, table: str) -> Element:
        """The entry as the kernel has it; NotFoundError if it is not there, or leads elsewhere."""
        family, name, key = place_of(entry)
        request = get_element(family, table, name, key)
        for found in parse_elements([self._runtime.netfilter.get(request)]):
            if found.data == data_of(entry):
                return found
        raise NotFoundError(request.operation, 2, netns=self._runtime.label, hint="It leads elsewhere now")

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
