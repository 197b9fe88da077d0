"""A creation that meets what a dead process has left (EEXIST): that gives way, and it is sent once more.

In any case where others make such things as well, whatever was seen: a guard may have been quicker, and have
removed thing and journal between the refusal and the look for them. Of what lives the second refusal says the
same.
"""

from __future__ import annotations

from netkit.errors import ExistsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime
    from netkit.errors import KernelError

    T = TypeVar("T")


def links_collected(refusal: KernelError | None, ends: Sequence[tuple[Runtime, int, str]]) -> bool:
    """Whether a link's creation is to be sent once more, for the dead have no links of these names now."""
    shared = [(runtime, name) for runtime, _, name in ends if _others_come(runtime)]
    if not isinstance(refusal, ExistsError) or not shared:
        return False
    from netkit._dying import await_dying
    from netkit._lifecycle.collect import collect_link

    for runtime, name in shared:
        collect_link(runtime.place, name)
        await_dying(runtime, name)
    return True


def past_leftovers(runtime: Runtime, deletion: Callable[[], Request], send: Callable[[], T]) -> T:
    """Add a route, rule, address or neighbour; ``deletion`` is the message that would delete it."""
    try:
        return send()
    except ExistsError:
        if not message_collected(runtime, deletion):
            raise
    return send()


def message_collected(runtime: Runtime, deletion: Callable[[], Request]) -> bool:
    """Whether an addition that was refused so is to be sent once more, for the dead have none now."""
    if not _others_come(runtime):
        return False
    from netkit._lifecycle.collect import collect_message

    request = deletion()
    collect_message(runtime.place, request.kind, request.body)
    return True


def _others_come(runtime: Runtime) -> bool:
    """Whether other processes may have left something there that somebody has to remove."""
    return (runtime.survives or runtime.named) and runtime.opener.guarded
