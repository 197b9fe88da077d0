"""Whose a route is that is to be adopted: another RouteTable's, or that of another process."""

from __future__ import annotations

from netkit._lifecycle import ROOT
from netkit._route_requests import deletion
from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._route import RouteTable
    from netkit._runtime import Runtime
    from netkit._spec.routes import Route


def refuse_owned(table: RouteTable, route: Route) -> None:
    """StateError if another table of this program has it, or a living process has noted it."""
    for member in ROOT._held_members():
        if member is not table and isinstance(member, type(table)) and member._owns(table, route):
            raise StateError(
                f"route '{route}' is owned in this program, by {member!r}: detach() it there first"
            )
    owner = _living_owner(table._runtime, route)
    if owner is not None:
        raise StateError(f"route '{route}' is owned by {owner}, which has to detach() it first")


def _living_owner(runtime: Runtime, route: Route) -> str | None:
    if not runtime.opener.journals:
        return None
    from netkit._lifecycle.claims import living_owner_of_message

    request = deletion(runtime, route)
    return living_owner_of_message(runtime.place, request.kind, request.body, runtime.opener.journals)


def inherit_route(runtime: Runtime, route: Route) -> None:
    """It was adopted: a dead process that had added it has left it no more."""
    if runtime.opener.journals:
        from netkit._lifecycle.inheritance import inherit_message

        request = deletion(runtime, route)
        inherit_message(runtime.opener.journals, runtime.place, request.kind, request.body)
