"""The alternative names of one link."""

from __future__ import annotations

from netkit._netlink.link import add_alternative_name, delete_alternative_name
from netkit._shown import Shown
from netkit._spec import names
from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from netkit._link import Link


class AlternativeNames(Shown):
    """The alternative names of a link, each up to 127 bytes.

    Twin: ``ip link property``. Source: ip-link(8), Linux 5.5. Changing needs CAP_NET_ADMIN.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     box.links["lo"].altnames.add("the-loopback-device")
        ...     print(box.links["the-loopback-device"].ifindex, list(box.links["lo"].altnames))
        1 ['the-loopback-device']
    """

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    def __iter__(self) -> Iterator[str]:
        return iter(self._link._read().altnames)

    def __len__(self) -> int:
        return len(self._link._read().altnames)

    def __contains__(self, name: object) -> bool:
        return name in self._link._read().altnames

    def add(self, name: str) -> None:
        """Add a name. Twin: ``ip link property add dev NAME altname NEW``.

        Raises SpecError for what can be no name, ExistsError when a link of the namespace has it.
        """
        wanted = names.alternative_name(name)
        operation = f"add alternative name '{wanted}' to {self._link._called}"
        self._link._change(add_alternative_name(self._link.ifindex, wanted, operation=operation))

    def remove(self, name: str) -> None:
        """Remove a name. Twin: ``ip link property del``. Raises NotFoundError when the link has none such."""
        wanted = names.alternative_name(name)
        if wanted not in self:
            raise NotFoundError(f"remove alternative name '{wanted}' of {self._link._called}", 2)
        operation = f"remove alternative name '{wanted}' of {self._link._called}"
        self._link._change(delete_alternative_name(self._link.ifindex, wanted, operation=operation))

    def __repr__(self) -> str:
        return f"<AlternativeNames of {self._link!r}>"
