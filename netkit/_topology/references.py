"""Names that stand for addresses: ``to="web:80"`` is the address of `web`, ``saddr="lan"`` its network."""

from __future__ import annotations

from ipaddress import ip_address

from netkit._spec.address import Address
from netkit._topology.naming import unknown
from netkit._topology.subnets import WIDTH, Subnet
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal


class References:
    """What the names of a plan stand for, once the addresses are known."""

    def __init__(
        self, addresses: Mapping[str, Sequence[Address]], subnets: Mapping[str, Sequence[Subnet]]
    ) -> None:
        self._addresses = addresses  # of namespaces and bridges
        self._subnets = subnets  # of bridges

    def host(self, text: str, where: str) -> Address:
        """A gateway that is given by its address; whatever else is a name that is not near."""
        try:
            packed = ip_address(text).packed
        except ValueError:
            if text in self._addresses:
                raise SpecError(f"{where}: '{text}' is not on the same wire, or has no address") from None
            wanted = "address, nor a namespace or bridge on the same wire"
            raise SpecError(f"{where}: {unknown(text, self._addresses, wanted)}") from None
        return Address(packed, 8 * len(packed))

    def owns(self, name: str, address: Address) -> bool:
        """Whether a namespace has this address itself."""
        return any(each.packed == address.packed for each in self._addresses.get(name, ()))

    def family(self, *texts: object) -> Literal[4, 6] | None:
        """The family of the first that is an address or a network; names may have both."""
        for text in texts:
            if not isinstance(text, str) or text == "default":
                continue
            name = text.removeprefix("!= ")
            if name not in self._addresses and split_port(name)[0] not in self._addresses:
                return 6 if name.count(":") > 1 else 4
        return None

    def network(self, text: str, where: str, family: int | None = None) -> str:
        """``saddr``, ``daddr`` and ``dst``: a bridge is its network, a namespace its address."""
        negation = "!= " if text.startswith("!= ") else ""
        name = text.removeprefix("!= ")
        if name not in self._addresses:
            return text
        if name in self._subnets:
            found = [each for each in self._subnets[name] if family in (None, each.version)]
        else:
            own = [each for each in self._addresses[name] if family in (None, each.version)]
            found = [Subnet.of(Address(each.packed, WIDTH[each.version])) for each in own]
        if not found:
            raise SpecError(f"{where}: '{name}' has no {_kind(family)} that it could stand for")
        return f"{negation}{found[0]}"

    def target(self, text: str, where: str, family: int | None = None) -> str:
        """``to`` of dnat and snat: a name, with a port or without, is its address."""
        name, port = split_port(text)
        if text in self._addresses:
            name, port = text, ""
        if name not in self._addresses:
            return text
        found = [each for each in self._addresses[name] if family in (None, each.version)]
        if not found:
            raise SpecError(f"{where}: '{name}' has no {_kind(family)} that it could stand for")
        address = found[0].ip
        if not port:
            return str(address)
        return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def split_port(text: str) -> tuple[str, str]:
    """``web:80`` as name and port or range of ports; the port is empty without one."""
    name, colon, port = text.rpartition(":")
    return (name, port) if colon and port.replace("-", "").isdigit() else (text, "")


def _kind(family: int | None) -> str:
    return "address" if family is None else f"IPv{family} address"
