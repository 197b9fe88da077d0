"""Links that go together: one message deletes a whole group in the time of one link."""

from __future__ import annotations

_LARGE = 64  # ports, from which on the message more pays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.link import LinkRecord


def common_group(present: dict[int, LinkRecord], indexes: set[int]) -> int | None:
    """The link group that has exactly these members and no stranger in it.

    The kernel waits once for a group, and once for each link that is deleted singly.
    """
    groups: dict[int, set[int]] = {}
    for record in present.values():
        groups.setdefault(record.group, set()).add(record.index)
    for group, members in groups.items():
        if group != 0 and indexes <= members:
            return group if indexes == members else None
    return None


def large_bridges(present: dict[int, LinkRecord], indexes: set[int]) -> list[int]:
    """The bridges among links that are deleted together, and have many ports.

    For seconds after containers came up a bridge floods what they say, to all ports. Set down first, a
    thousand ports are gone in half the time.
    """
    ports: dict[int, int] = {}
    for record in present.values():
        if record.master is not None and record.master in indexes:
            ports[record.master] = ports.get(record.master, 0) + 1
    return [index for index, count in ports.items() if count >= _LARGE and present[index].kind == "bridge"]
