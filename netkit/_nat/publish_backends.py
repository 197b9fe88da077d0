"""The two backends of published ports, and the choice between them."""

from __future__ import annotations

from functools import partial

from netkit._nat.backend import ABSENT
from netkit.errors import BackendError, KernelError, NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._lifecycle import Undo
    from netkit._nat.publish_books import Books
    from netkit._nat.publish_part import Part
    from netkit._runtime import Runtime


def books_of(runtime: Runtime, name: str) -> Books:
    """What this process has published in this namespace by the backend of this name."""
    if name == "nftables":
        from netkit._nat.publish_tables import PublishedPorts

        return runtime.once("published by nftables", lambda: PublishedPorts(runtime))
    from netkit._nat.publish_chains import PublishedChains

    return runtime.once("published by iptables", lambda: PublishedChains(runtime))


def add_part(runtime: Runtime, name: str | None, part: Part, undo: Undo) -> Books:
    """Add by the named backend; without a name, by the first one that can.

    Raises BackendError with what was tried when neither can.
    """
    books = books_of(runtime, name or "nftables")
    undo.add(partial(books.remove, part))
    try:
        books.add(part)
    except (KernelError, OSError) as problem:
        if name is not None or problem.errno not in ABSENT:
            raise
        return _fall_back(runtime, part, undo, problem)
    return books


def _fall_back(runtime: Runtime, part: Part, undo: Undo, refusal: OSError) -> Books:
    books = books_of(runtime, "iptables")
    undo.add(partial(books.remove, part))
    try:
        books.add(part)
    except NetkitError as problem:
        raise BackendError(
            f"no NAT backend can publish {part.words} in {runtime.label}. "
            f"Tried nftables: {refusal}. Tried iptables: {problem}"
        ) from problem
    return books


def first_usable(runtime: Runtime) -> str:
    """The backend that a mapping without a name would have got here."""
    from netkit._nat.publish_plain import guarded_devices

    try:
        guarded_devices(runtime.netfilter)
    except (KernelError, OSError) as problem:
        if problem.errno in ABSENT:
            return "iptables"
        raise
    return "nftables"
