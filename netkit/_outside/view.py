"""What has to be known of the outside before something is led there."""

from __future__ import annotations

from netkit._system.namespace_files import path_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace


class OutsideView:
    """The calling thread's namespace, as it is now."""

    __slots__ = ("has_v6", "identity", "template6")

    def __init__(self, identity: tuple[int, int] | None, has_v6: bool, template6: str | None) -> None:
        self.identity = identity
        self.has_v6 = has_v6  # there is an IPv6 default route
        self.template6 = template6  # a device with an IPv6 link-local address, best that of the route


def view_outside() -> OutsideView:
    """Read it; reading needs no capability."""
    from netkit._namespace import Namespace

    with Namespace.current() as outside:
        devices = [str(route.dev) for route in outside.routes.filter(family=6, dst="default") if route.dev]
        template = _link_local(outside, devices)
    return OutsideView(path_identity("/proc/thread-self/ns/net"), bool(devices), template)


def _link_local(outside: Namespace, preferred: list[str]) -> str | None:
    found = [
        link.name
        for link in outside.links.read()
        if link.up and any(each.version == 6 and each.scope == "link" for each in link.addresses)
    ]
    return next((name for name in [*preferred, *found] if name in found), None)
