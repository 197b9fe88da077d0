"""Links that go together: one message deletes a whole group in the time of one link."""

from __future__ import annotations

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
