"""The published ports of a namespace in iptables' legacy tables: in chains of our own, by python-iptables.

The kernel does not remove them with this process: in a namespace that goes on without it their name is in the
journal, for the guard. What is detached moves to chains without a suffix, which all processes share; there
each mapping has its own copy of what it needs besides its ports.
"""

from __future__ import annotations

import os
from errno import ENOENT
from itertools import product

from netkit._nat.backend import Iptables, named
from netkit._nat.publish_books import Books
from netkit._nat.publish_chain_rules import (
    chain_name,
    device_rules,
    guard_chains,
    nat_chains,
    network_rules,
    port_of_both,
    port_rules,
    target_words,
)
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._system.entries import CHAINS
from netkit._system.journal import note, strike
from netkit.errors import ExistsError, KernelError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.iptables_client import IptablesWorker
    from netkit._nat.iptables_rules import Chains, Rule
    from netkit._nat.publish_part import Part
    from netkit._runtime import Runtime

_PLAIN = ""


class Change:
    """What goes into one transaction of the worker."""

    __slots__ = ("add", "drop", "ensure", "free", "remove", "take", "tidy")

    def __init__(self) -> None:
        self.ensure: list[Chains] = []
        self.take: list[Rule] = []
        self.remove: list[Rule] = []
        self.add: list[Rule] = []
        self.drop: list[Chains] = []
        self.tidy: list[Chains] = []
        self.free: list[list[Rule]] = []


class PublishedChains(Books):
    """The mappings of this process in one namespace; threads may share it."""

    name = "iptables"
    plain = _PLAIN

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, os.urandom(4).hex())
        backend = named(runtime, "iptables")
        assert isinstance(backend, Iptables)
        self._worker: IptablesWorker = backend.worker
        self._noted: dict[tuple[int, str], int] = {}  # in the journal: family and table of our chains

    # -- add and remove -----------------------------------------------------------

    def creation(self, part: Part) -> Change:
        """The guard first: nothing is to come in by a device before it is there."""
        change = Change()
        networks = [each for each in part.networks if not self._networks[each]]
        devices = [each for each in part.devices if not self._devices[each]]
        if part.devices:
            change.ensure.append(guard_chains(self.where))
        change.ensure += [nat_chains(family, self.where) for family in sorted(part.families())]
        change.add += device_rules(devices, self.where) + network_rules(networks, self.where)
        change.add += port_rules(part, self.where)
        return change

    def _add(self, part: Part) -> None:
        for family in sorted(part.families()):
            chains = nat_chains(family, _PLAIN)
            present = self._worker.rules(chains["family"], "nat", chains["names"][0])
            for rule, other in product(port_rules(part, _PLAIN) if present else (), present):
                port = port_of_both(rule, other) if rule["family"] == chains["family"] else None
                if port is not None:
                    raise self._held_detached(rule.get("protocol", ""), port, target_words(other, port))
        self._change(self.creation(part))

    def deletion(self, part: Part) -> Change:
        """The chains go with their last ports, the guard last."""
        change, left = Change(), self._left(part)
        gone = [family for family in sorted(part.families()) if not left[family]]
        versions = {chains["family"] for chains in (nat_chains(family, "") for family in gone)}
        networks = [each for each in part.networks if self._networks[each] == 1]
        devices = [each for each in part.devices if self._devices[each] == 1]
        rules = port_rules(part, self.where) + network_rules(networks, self.where)
        change.remove += [rule for rule in rules if rule["family"] not in versions]
        change.drop += [nat_chains(family, self.where) for family in gone]
        if part.devices and len(devices) == len(self._devices):
            change.drop.append(guard_chains(self.where))
        else:
            change.remove += device_rules(devices, self.where)
        return change

    def _ask(self, change: Change) -> None:
        fresh = self._note(change.ensure)
        try:
            self._worker.transaction(
                change.add, change.remove, ensure=change.ensure, drop=change.drop, tidy=change.tidy,
                take=change.take, free=change.free,
            )  # fmt: skip
        except KernelError:  # nothing was done; of whatever else comes it is not known
            for key in fresh:
                strike(self._noted.pop(key))
            raise
        for chains in change.drop:
            noted = self._noted.pop((chains["family"], chains["table"]), None)
            if noted is not None:
                strike(noted)

    def _note(self, ensured: list[Chains]) -> list[tuple[int, str]]:
        """Note chains of ours that may not be there yet, where nobody else would remove them."""
        fresh: list[tuple[int, str]] = []
        for chains in ensured if self._runtime.survives else ():
            key = chains["family"], chains["table"]
            if key not in self._noted and chains["names"][0].endswith(self.where):
                self._noted[key] = note(CHAINS, self._runtime.place, *key, self.where)
                fresh.append(key)
        return fresh

    def _ask_anew(self, parts: list[Part]) -> None:
        everything = Change()
        everything.drop += [nat_chains(family, self.where) for family in (NFPROTO_IPV4, NFPROTO_IPV6)]
        everything.drop.append(guard_chains(self.where))
        self._ask(everything)
        whole = Change()
        for change in self._learning(parts):
            whole.ensure += change.ensure
            whole.add += change.add
        self._ask(whole)

    # -- detach and adopt ---------------------------------------------------------

    def detach(self, part: Part) -> None:
        """Move it to the shared chains."""
        with self._lock:
            self._settle()
            change = self.deletion(part)
            change.ensure += [guard_chains(_PLAIN)] if part.devices else []
            change.ensure += [nat_chains(family, _PLAIN) for family in sorted(part.families())]
            ports = port_rules(part, _PLAIN)
            change.add += ports + self._besides(part)
            # Looked at under the lock: of two processes that detach the same port one is too late.
            change.free += _by_family(ports)
            try:
                self._change(change)
            except ExistsError as problem:
                raise self._detached_already(part) from problem
            self.unlearn(part)

    def adopt(self, part: Part) -> None:
        """Move it from there into our own."""
        with self._lock:
            self._settle()
            self.check_free(part)
            change = self.creation(part)
            change.take += port_rules(part, _PLAIN)
            change.remove += self._besides(part)
            change.tidy += [nat_chains(family, _PLAIN) for family in sorted(part.families())]
            change.tidy += [guard_chains(_PLAIN)] if part.devices else []
            try:
                self._change(change)
            except NotFoundError as problem:
                raise kernel_error(
                    f"adopt {part.words}", ENOENT, netns=self._runtime.label,
                    hint="No such ports were detached here, or somebody else has adopted them",
                ) from problem  # fmt: skip
            self.learn(part)

    def mend(self, part: Part) -> None:
        """The chains first: those that are not there come with what leads to them.

        Where all ports are gone the copies of what they need are, too: what is there is that of others.
        """
        chains = [guard_chains(_PLAIN)] if part.devices else []
        chains += [nat_chains(family, _PLAIN) for family in sorted(part.families())]
        ports, besides = port_rules(part, _PLAIN), self._besides(part)
        leading = [rule for each in chains for rule in each["rules"]]
        if ports:
            self._worker.transaction(ensure=chains)
            lost = [*self._worker.missing(leading), *self._worker.missing(ports)]
            flushed = all(rule in lost for rule in ports)
            self._worker.transaction([*lost, *(besides if flushed else self._worker.missing(besides))])

    def _besides(self, part: Part) -> list[Rule]:
        """What a mapping has in the shared chains besides its ports."""
        return network_rules(part.networks, _PLAIN) + device_rules(part.devices, _PLAIN)

    def guarded_devices(self) -> set[str]:
        """The devices that have route_localnet for what is detached."""
        rules = self._worker.rules(4, "raw", chain_name("GUARD", _PLAIN))
        return {rule["in_interface"] for rule in rules if "in_interface" in rule}

    # -- reading ------------------------------------------------------------------

    def counters(self, part: Part, where: str) -> tuple[int, int]:
        """Packets and bytes; NotFoundError if a rule is gone."""
        counted = self._worker.counters_of(port_rules(part, where))
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, part: Part, where: str) -> bool:
        """Whether all is there: its ports, and what leads to them."""
        rules = port_rules(part, where) + network_rules(part.networks, where)
        chains = [nat_chains(family, where) for family in part.families()]
        if part.devices:
            rules += device_rules(part.devices, where)
            chains.append(guard_chains(where))
        return self._worker.all_exist([*rules, *[rule for each in chains for rule in each["rules"]]])


def _by_family(rules: list[Rule]) -> list[list[Rule]]:
    families = {rule["family"] for rule in rules}
    return [[each for each in rules if each["family"] == one] for one in sorted(families)]
