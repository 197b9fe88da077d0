"""The default routes by a bridge that what it connects is given."""

from __future__ import annotations

from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._spec.address import Address
    from netkit._spec.routes import Route


class Gateways:
    """The default routes by one bridge. Those of one address are all the same Route."""

    __slots__ = ("_by_address", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._by_address: dict[Address, Route] = {}

    def routes(self, addresses: Sequence[Address], given: tuple[Address, ...]) -> tuple[Route, ...]:
        """One per family that the far end is ``given`` an address of, by the bridge's first of it."""
        if not addresses:
            raise SpecError(f"default_route=True needs an address on bridge '{self._name}'")
        routes: list[Route] = []
        for version in (4, 6):
            gateways = [a for a in addresses if a.version == version]
            if gateways and [a for a in given if a.version == version]:
                routes.append(self._by(gateways[0]))
        if not routes:
            raise SpecError(
                f"default_route=True needs a peer_address of a family that bridge '{self._name}' has: "
                + ", ".join(str(a) for a in addresses)
            )
        return tuple(routes)

    def _by(self, gateway: Address) -> Route:
        route = self._by_address.get(gateway)
        if route is None:
            from netkit._spec.routes import Route

            route = self._by_address[gateway] = Route.build("default", via=gateway.ip)
        return route
