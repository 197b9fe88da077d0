"""What the kernel refused, as an exception with its words and the attribute's name."""

from __future__ import annotations

import errno

from netkit._netlink.address import RTM_NEWADDR
from netkit._netlink.policy import attribute_at
from netkit._netlink.wire import HEADER_SIZE, Refusal, Request
from netkit.errors import KernelError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def explain(
    request: Request,
    refusal: Refusal,
    label: str | None,
    missing_capability: Callable[[], str | None] | None,
) -> KernelError:
    """Turn a refusal into the exception that says what was asked, of whom, and why not.

    ``label`` is how the namespace is called; ``missing_capability`` tells which one the caller lacks.
    """
    attribute = None
    if refusal.offset is not None:
        offset = refusal.offset - HEADER_SIZE
        attribute = attribute_at(request.policy, request.body, request.header_size, offset)
    elif refusal.missing is not None and request.policy is not None:
        row = request.policy.get(refusal.missing)
        attribute = f"{row.name} is missing" if row is not None else None
    lacking = None
    if refusal.errno in (errno.EPERM, errno.EACCES) and missing_capability is not None:
        lacking = missing_capability()
    return kernel_error(
        request.operation,
        refusal.errno,
        extack=refusal.text,
        attribute=attribute,
        netns=label,
        deleting=request.deleting,
        missing_capability=lacking,
        # Only IPv6 says EACCES of an address; older kernels (6.1) say no more than that.
        ipv6_is_disabled=request.kind == RTM_NEWADDR and refusal.errno == errno.EACCES,
    )
