"""AdoptedLink: one link of any kind that is owned, and so deleted at the end."""

from __future__ import annotations

from netkit._lifecycle import LINKS, Resource, Teardown
from netkit._link import Link
from netkit._marks import adopt_links, note_link, release_links, tag_survivors
from netkit._netlink.link import get_link, parse_link
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._netlink.link import LinkRecord


class AdoptedLink(Resource, Shown):
    """A link that something else made, owned from now on; `Link.adopt` returns it.

    It has the verbs of everything that netkit creates but ``create``: `delete`, `detach`, `adopt`, ``with``,
    and `Scope.own` takes it over.
    """

    _stage = LINKS

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._netns = link.netns
        self._runtime = link.netns._live_runtime()
        record = link._read()
        if record.kind is None:
            raise SpecError(f"{link!r} is a device of the machine: no program can delete it")
        self._kind, self._mac = record.kind, record.mac
        self._state = "borrowed"

    @property
    def link(self) -> Link:
        """The link."""
        self._check_live()
        return self._link

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _places(self) -> list[tuple[Runtime, int]]:
        return [(self._runtime, self._link.ifindex)]

    def _remove(self, teardown: Teardown) -> None:
        if self._runtime.fd >= 0 and self._runtime not in teardown.doomed:
            teardown.delete_link(self, self._places(), self._is_mine)

    def _is_mine(self, record: LinkRecord) -> bool:
        """Names and indexes are used again: it is the one that was adopted by its group or its MAC."""
        marked = (self._group and record.group == self._group) or record.mac == self._mac
        return record.kind == self._kind and bool(marked)

    def _exists(self) -> bool:
        try:
            request = get_link(index=self._link.ifindex)
            return self._is_mine(parse_link(self._runtime.route.get(request)))
        except NotFoundError:
            return False

    def _detach(self) -> None:
        release_links([(self._runtime, self._link._read())], self._group)
        self._group = 0

    def _moving(self, place: tuple[Runtime, int], target: Runtime) -> None:
        self._note_at(target, place[1], [self._mac])

    def _note_at(self, runtime: Runtime, index: int, macs: list[str | None]) -> None:
        note_link(self, self._kind, self._group or 0, [(runtime, index, self._link._last_name)], macs)

    def _moved(self, place: tuple[Runtime, int], netns: Namespace, index: int) -> None:
        self._netns, self._runtime = netns, netns._live_runtime()
        self._link = Link(netns, index, self._link._last_name)
        self._settle()
        tag_survivors([(self._runtime, self._link._read())], self._group or 0)

    def _note_again(self) -> None:
        self._note_at(self._runtime, self._link.ifindex, [self._mac])

    def _marking(self, place: tuple[Runtime, int], mac: str) -> None:
        self._note_at(*place, [self._mac, mac])

    def _marked(self, place: tuple[Runtime, int], mac: str) -> None:
        self._mac = mac
        self._settle()

    def _adopt(self) -> None:
        self._group = adopt_links(self, [(self._runtime, self._link._read())])

    def __repr__(self) -> str:
        return f"<AdoptedLink {self._link._last_name!r} in {self._netns._called()}>"
