"""The links of a namespace, as a mapping by name."""

from __future__ import annotations

from _collections_abc import Mapping  # collections itself imports more

from netkit._link import Link, link_by_name
from netkit._netlink.link import list_links, parse_identity, parse_link
from netkit._shown import Shown
from netkit._spec import names
from netkit.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from netkit._namespace import Namespace
    from netkit._netlink.link import LinkRecord
    from netkit._reading import LinkInfo

    D = TypeVar("D")


class Links(Shown):
    """The links of a namespace, by name: ``links["eth0"]``, ``in``, ``len``, ``get``.

    Alternative names work too. Iterating yields Link objects (not names), from one fresh read, and
    ``in`` takes these as well; ``keys()`` has the names. It is a ``collections.abc.Mapping`` by
    registration: as one by inheritance, its iterator would have to be one of names.

    Twin: ``ip link show``. Source: rtnetlink(7), RTM_GETLINK. Needs no capability. ``links[name]`` raises
    NotFoundError when there is none, SpecError for what can be no name.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     print("lo" in box.links, len(box.links), [link.name for link in box.links])
        True 1 ['lo']
    """

    __slots__ = ("_netns",)

    def __init__(self, netns: Namespace) -> None:
        self._netns = netns

    def __getitem__(self, name: str) -> Link:
        return link_by_name(self._netns, names.alternative_name(name, "link name"))

    def __contains__(self, name: object) -> bool:
        if isinstance(name, Link):  # what iterating yields
            return name._netns._same_as(self._netns) and name.exists
        return isinstance(name, str) and self.get(name) is not None

    def get(self, name: str, default: D | None = None) -> Link | D | None:
        """The link of this name, or the default. Twin: ``ip link show dev NAME``. Raises nothing for a name
        that none can have."""
        try:
            return self[name]
        except (NotFoundError, SpecError):
            return default

    def __iter__(self) -> Iterator[Link]:
        return iter([Link(self._netns, index, name) for index, name in self._identities()])

    def read(self) -> tuple[LinkInfo, ...]:
        """All links with their addresses, as frozen values: the way to look at many.

        A property of a `Link` is a fresh read each, a request and its answer; this asks the kernel
        twice altogether, for all links and for all addresses, and again only if they changed
        during the answer. A thousand links take some milliseconds.

        Twin: ``ip -d address show``. Needs no capability. Raises BusyError when the links keep
        changing, ProtocolError for a malformed answer. Source: rtnetlink(7), RTM_GETLINK and
        RTM_GETADDR.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     for link in box.links.read():
            ...         print(link.name, link.kind, link.mtu, *link.addresses)
            lo None 65536 127.0.0.1/8 ::1/128
        """
        from netkit._reading import read_everything

        return read_everything(self._netns._live_runtime().route)

    def __len__(self) -> int:
        return len(self._identities())

    def keys(self) -> list[str]:
        """The names, from one fresh read. Twin: ``ip -br link``. Raises ProtocolError for a malformed
        answer."""
        return [name for _, name in self._identities()]

    def values(self) -> list[Link]:
        """The links, from one fresh read. Twin: ``ip link show``. Raises what `keys` does."""
        return list(self)

    def items(self) -> list[tuple[str, Link]]:
        """Names and links, from one fresh read. Twin: ``ip link show``. Raises what `keys` does."""
        return [(link._last_name, link) for link in self.values()]

    def _identities(self) -> list[tuple[int, str]]:
        replies = self._netns._live_runtime().route.dump(list_links())
        return [parse_identity(reply) for reply in replies]

    def __repr__(self) -> str:
        return f"<Links of {self._netns._called()}>"


Mapping.register(Links)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


def read_links(netns: Namespace) -> list[LinkRecord]:
    """Every link of the namespace, in one dump."""
    return [parse_link(reply) for reply in netns._live_runtime().route.dump(list_links())]
