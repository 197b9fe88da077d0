"""How links that outlive this process are known as ours: in the journal, and by marks in the kernel.

A link is created in our random group and with a MAC that we choose: that is how it is known before it
is deleted. Where it would outlive us it is noted in the journal first, and afterwards gets an alias
that says who made it, for people and for `netkit gc` when the journal is lost.
"""

from __future__ import annotations

from netkit._lifecycle import raise_first
from netkit._lifecycle.owned import refuse_second_owner
from netkit._netlink.link import set_link
from netkit._runtime import random_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._end import End
    from netkit._lifecycle import Resource
    from netkit._netlink.link import LinkRecord
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime

TAG = "netkit:"
_NO_MAC = "-"


def note_link(
    owner: Resource,
    kind: str,
    group: int,
    ends: Sequence[tuple[Runtime, int, str]],
    macs: Sequence[str | None],
) -> bool:
    """Note a link that is about to be made, or taken over, if it could outlive us; whether it would.

    A veth goes with either of its namespaces; one of ours that has a name may have been entered by others,
    who keep it alive: a container. Without a MAC only the group tells that it is ours.
    """
    runtimes = [runtime for runtime, _, _ in ends]
    survives = [runtime.survives for runtime in runtimes]
    if not any(survives) or not all(each.survives or each.named for each in runtimes):
        return False
    from netkit._system.entries import LINK

    places = [word for runtime, index, name in ends for word in (runtime.place, index, name)]
    owner._note(LINK, kind, group, ",".join([mac for mac in macs if mac]) or _NO_MAC, *places)
    return all(survives)


def tag_request(index: int, name: str, group: int) -> Request:
    """The message that says in the kernel whose a link is."""
    from netkit._system.journal import journal

    return set_link(index, alias=journal.tag(group), operation=f"tag link '{name}'")


def tag_survivors(present: Sequence[tuple[Runtime, LinkRecord]], group: int) -> None:
    """Tag links that were moved to where they would outlive us. An alias that the user has set stays."""
    if all(runtime.survives for runtime, _ in present):
        for runtime, record in present:
            if not record.alias:
                runtime.route.request(tag_request(record.index, record.name, group))


def adopt_links(owner: Resource, present: Sequence[tuple[Runtime, LinkRecord]]) -> int:
    """Make links ours, with a note in the journal if they would outlive us; returns their group from now on.

    A group or an alias that the user has set stays; those that a dead process has left do not. What only the
    group will tell is not ours before it is in there: so the note says no MAC then.
    """
    group = random_group()
    joins = [not record.group or _is_left(record) for _, record in present]
    ends = [(runtime, record.index, record.name) for runtime, record in present]
    macs = [] if any(joins) else [record.mac for _, record in present]
    survives = note_link(owner, present[0][1].kind or "", group, ends, macs)
    refuse_second_owner(owner)  # who has looked when we did: now both are noted
    for (runtime, record), joining in zip(present, joins, strict=True):
        requests: list[Request] = []
        if joining:
            requests.append(set_link(record.index, group=group, operation=f"adopt link '{record.name}'"))
        if survives and (not record.alias or _is_left(record)):
            requests.append(tag_request(record.index, record.name, group))
        raise_first(runtime.route.batch(requests))
    _inherit(ends)
    return group


def _is_left(record: LinkRecord) -> bool:
    """Whether it bears the tag of a process: it has died, or it would have been asked."""
    return (record.alias or "").startswith(TAG) and (record.alias or "").endswith(f":{record.group}")


def _inherit(ends: Sequence[tuple[Runtime, int, str]]) -> None:
    from netkit._lifecycle.inheritance import inherit_links

    for directory in {runtime.opener.journals for runtime, _, _ in ends} - {""}:  # a simulated kernel's
        inherit_links(directory, {(runtime.place, index) for runtime, index, _ in ends})


def release_links(present: Sequence[tuple[Runtime, LinkRecord]], group: int | None) -> None:
    """Make links nobody's: out of our group and without our tag. What the user has set stays."""
    for runtime, record in present:
        leaves = 0 if group and record.group == group else None
        alias = "" if (record.alias or "").startswith(TAG) else None
        if leaves is not None or alias is not None:
            operation = f"detach link '{record.name}'"
            runtime.route.request(set_link(record.index, group=leaves, alias=alias, operation=operation))


def ends_of(*ends: End) -> list[tuple[Runtime, int, str]]:
    """The ends of a pair, as `note_link` wants them."""
    return [(end.runtime, end.index, end.name) for end in ends if end.runtime is not None]
