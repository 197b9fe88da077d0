"""Thousands of published ports as one value: read in bulk, and made into one for each only when read.

Ten thousand loops of Python cost as much as the kernel takes for all of it. So nothing here loops over the
ports: what is done with each is done by one call for all, such as a slice with a step.
"""

from __future__ import annotations

import struct
from _socket import AF_INET, inet_pton
from itertools import compress, repeat

from netkit._nat.publish_rules import FAMILIES, HOST_PORTS, PORTS
from netkit._nat.publish_specs import Specs, from_loopback, only_loopback
from netkit._spec.addresses import address_of
from netkit._spec.port_mapping import PROTOCOLS, PublishSpec
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any

    from netkit._nat.publish_part import Place
    from netkit._nat.publish_specs import Content
    from netkit._spec.addresses import AddressLike
    from netkit._spec.port_mapping import Entry

# The first byte of an IPv4 address of which there is more to say: 0.0.0.0/8, loopback, groups and beyond.
_SPECIAL = {0, 127, *range(224, 256)}


def parse_many(pairs: Any, proto: str | Iterable[str], host_ip: AddressLike | None) -> ManySpecs | None:
    """Ports with ``ADDRESS:PORT`` each, as one by one but in bulk; None if there is anything else."""
    try:
        ports, targets = _columns(pairs)
        if set(map(type, ports)) != {int} or set(map(type, targets)) != {str}:
            return None
        hosts, numbers = _halves(targets)
        # The model is the mapping of the first one, whose protocols and host address are those of all.
        model = PublishSpec(2, to=f"{hosts[0]}:1", proto=proto, host_ip=host_ip)
        addresses = _packed_all(hosts, model)
        packed = _ports(ports)
        contents = _contents(packed, addresses, _ports(_numbers(numbers)), model)
    except (KeyError, TypeError, ValueError, struct.error, SpecError):
        return None
    if sum(map(len, contents.values())) != len(ports):
        return None  # one is there twice
    return ManySpecs(packed, addresses, numbers, contents, model)


def _columns(pairs: Any) -> tuple[Collection[Any], Collection[Any]]:
    """Of a mapping, or of a list of pairs."""
    if hasattr(pairs, "keys"):
        return pairs.keys(), pairs.values()
    ports, targets = zip(*pairs, strict=True)
    return ports, targets


def _halves(texts: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What is before the last colon of each, and behind it."""
    if set(map(str.count, texts, repeat(":"))) == {1}:
        both = "\n".join(texts).replace(":", "\n").split("\n")
        if len(both) == 2 * len(texts):
            return both[::2], both[1::2]
    hosts, _, numbers = zip(*map(str.rpartition, texts, repeat(":")), strict=True)
    return hosts, numbers


def _ports(numbers: Collection[int]) -> bytes:
    """Ports as they stand in keys and data, each after the other; struct.error for what is none."""
    if 0 in numbers:
        raise ValueError("port 0")
    return struct.pack(f">{len(numbers)}H", *numbers)


def _numbers(texts: Sequence[str]) -> list[int]:
    """Ports from their texts; ValueError for whatever may need a closer look."""
    together = ",".join(texts)
    if not together.isascii() or not together.replace(",", "").isdigit() or ",0" in f",{together}":
        raise ValueError("not plain numbers")
    return [*map(int, texts)]


def _packed_all(hosts: Sequence[str], model: PublishSpec) -> Sequence[bytes]:
    """The targets as bytes: at once where all are plain IPv4 addresses, else each once."""
    if model.versions != (6,):
        try:
            packed = [*map(inet_pton, repeat(AF_INET), hosts)]
        except OSError:
            pass  # IPv6, or an error: whatever it is, it is found by looking at each
        else:
            if _SPECIAL.isdisjoint(b"".join(packed)[::4]):
                return packed
    return [*map(_Targets(model).__getitem__, hosts)]


class _Targets(dict[str, bytes]):
    """Targets by their text: whatever is refused for one port, or read in another way, is KeyError."""

    def __init__(self, model: PublishSpec) -> None:
        self._model = model

    def __missing__(self, text: str) -> bytes:
        spec = PublishSpec(2, to=f"{text}:1", proto=self._model.protos, host_ip=self._model.host_ip)
        if spec.to_ports != (1, 1) or spec.only_relayed:
            raise KeyError(text)
        self[text] = packed = spec.targets[0].packed
        return packed


def _contents(
    ports: bytes, addresses: Sequence[bytes], to_ports: bytes, model: PublishSpec
) -> dict[int, Content]:
    """Keys and data of the first protocol, by IP version."""
    sizes = [*map(len, addresses)]
    if len(set(sizes)) == 1:
        return {_VERSIONS[sizes[0]]: _content(ports, addresses, to_ports, model)}
    found: dict[int, Content] = {}
    for size, version in _VERSIONS.items():
        chosen = [each == size for each in sizes]
        found[version] = _content(
            _chosen(ports, chosen), [*compress(addresses, chosen)], _chosen(to_ports, chosen), model
        )
    return found


_VERSIONS = {4: 4, 16: 6}  # by the length of an address


def _chosen(ports: bytes, chosen: Sequence[bool]) -> bytes:
    return b"".join(compress(_pieces(ports, 2), chosen))


def _content(ports: bytes, addresses: Sequence[bytes], to_ports: bytes, model: PublishSpec) -> Content:
    prefix, width = _prefix(model), len(addresses[0])
    at = len(prefix) + 4  # each field in a register of 4 bytes
    keys = bytearray((prefix + bytes((PROTOCOLS[model.protos[0]],)) + bytes(7)) * len(addresses))
    _lay(keys, at + 4, at, ports, 2)
    data = bytearray((width + 4) * len(addresses))
    _lay(data, width + 4, 0, b"".join(addresses), width)
    _lay(data, width + 4, width, to_ports, 2)
    return dict(zip(_pieces(keys, at + 4), _pieces(data, width + 4), strict=True))


def _prefix(model: PublishSpec) -> bytes:
    """What keys begin with where one address is published."""
    host = model.host_ip
    return b"" if host is None or host.is_unspecified else host.packed


def _lay(into: bytearray, step: int, at: int, values: bytes, size: int) -> None:
    """Values of one size, one after the other, into records of ``step`` bytes."""
    for byte in range(size):
        into[at + byte :: step] = values[byte::size]


def _pieces(data: bytes | bytearray, size: int) -> tuple[bytes, ...]:
    return struct.unpack(f"{size}s" * (len(data) // size), data)


class ManySpecs(Specs):
    """Pairs of one port each, which differ in nothing but the ports and the targets."""

    def __init__(
        self,
        ports: bytes,
        addresses: Sequence[bytes],
        numbers: Sequence[str],
        contents: dict[int, Content],
        model: PublishSpec,
    ) -> None:
        super().__init__(())
        self._ports, self._addresses, self._numbers = ports, addresses, numbers
        self._contents = contents
        self._model = model
        self._targets: set[bytes] = set()

    def all(self) -> tuple[PublishSpec, ...]:
        if not self._specs:
            self._specs = tuple(self.first(len(self)))
        return self._specs

    def first(self, count: int) -> Sequence[PublishSpec]:
        ports = struct.iter_unpack(">H", self._ports[: 2 * count])
        some = zip(ports, self._addresses, self._numbers, strict=False)
        return [self._model.at(port, address_of(target), int(number)) for (port,), target, number in some]

    def __len__(self) -> int:
        return len(self._addresses)

    def targets(self) -> set[bytes]:
        if not self._targets:
            self._targets = set(self._addresses)
        return self._targets

    def translated_targets(self) -> set[bytes]:
        return self.targets()

    def forwarded_targets(self) -> set[bytes]:
        return set() if only_loopback(self._model) else self.targets()

    def versions(self) -> list[int]:
        return sorted(self._contents)

    def from_loopback(self) -> bool:
        return from_loopback(self._model)

    def has_udp(self) -> bool:
        return "udp" in self._model.protos

    def maps(self) -> tuple[dict[Place, Content], Entry | None]:
        at = len(_prefix(self._model))
        found: dict[Place, Content] = {}
        for version, content in self._contents.items():
            place = FAMILIES[version], HOST_PORTS if at else PORTS
            found[place] = {**content}
            for name in self._model.protos[1:]:
                word = bytes((PROTOCOLS[name],))
                more = {key[:at] + word + key[at + 1 :]: data for key, data in content.items()}
                found[place].update(more)
        return found, None
