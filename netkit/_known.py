"""The Namespace objects that are open: found by what the kernel calls them, or taken as arguments."""

from __future__ import annotations

from weakref import WeakValueDictionary

from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._runtime import Runtime

_known: WeakValueDictionary[tuple[int, int], Namespace] = WeakValueDictionary()


def remember(netns: Namespace, runtime: Runtime) -> None:
    """Find this object by its kernel namespace from now on."""
    _known[runtime.identity] = netns


def remember_first(netns: Namespace, runtime: Runtime) -> None:
    """The same, unless another one that is open has it already."""
    known = _known.get(runtime.identity)
    if known is None or known._runtime_or_none() is None:
        remember(netns, runtime)


def open_namespaces() -> list[Namespace]:
    """All that are open now."""
    return [each for each in list(_known.values()) if each._runtime_or_none() is not None]


def find_by_nsid(here: Runtime, nsid: int) -> Namespace | None:
    """The open Namespace that another one knows by an id."""
    for other in list(_known.values()):
        runtime = other._runtime_or_none()
        if runtime is not None and nsid_in(here, runtime) == nsid:
            return other
    return None


def nsid_in(here: Runtime, other: Runtime) -> int | None:
    """The id by which a namespace knows another one, if it has one."""
    from netkit._netlink.nsid import get_nsid, parse_nsid

    return parse_nsid(here.route.get(get_nsid(other.check())))


_classes: list[type[Namespace]] = []  # for the function below: an import takes as long as all it does


def require_namespace(value: object, what: str) -> Namespace:
    """A Namespace; anything else is a SpecError with the right call."""
    if not _classes:
        from netkit._namespace import Namespace

        _classes.append(Namespace)
    if isinstance(value, _classes[0]):
        return value
    hint = f": Namespace.open({shown(value)}) opens one that exists" if isinstance(value, str) else ""
    raise SpecError(f"{what} takes a Namespace, not {shown(value)}{hint}")


def runtime_of(netns: Namespace) -> Runtime:
    """The open runtime of a namespace."""
    return require_namespace(netns, "netns")._live_runtime()


def known_at(identity: tuple[int, int]) -> Namespace | None:
    """The Namespace object for what the kernel calls so, if one is open."""
    return _known.get(identity)
