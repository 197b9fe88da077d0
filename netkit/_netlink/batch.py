"""Many messages in one send: how many, and with which sequence numbers."""

from __future__ import annotations

from netkit._netlink.wire import HEADER, HEADER_SIZE, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A default receive buffer of 208 KiB loses acknowledgements at 300 of them; 128 are safe.
LARGEST_BATCH = 128
LARGEST_SEND = 64 * 1024
SEQUENCE_MASK = 0x7FFFFFFF
_header = HEADER.pack


def packed(requests: Sequence[Request], first: int, flags: int, kept: int = ~0, last: int = -1) -> bytes:
    """The messages of a send. Of their flags those in ``kept`` stay, and all of the one numbered ``last``."""
    parts: list[bytes] = []
    for number, each in enumerate(requests, first):
        if number == last:
            kept = ~0
        body, wanted = each.body, (each.flags | flags) & kept
        parts += _header(HEADER_SIZE + len(body), each.kind, wanted, number & SEQUENCE_MASK, 0), body
    return b"".join(parts)


def split(requests: Sequence[Request]) -> Iterable[Sequence[Request]]:
    """Parts that one receive buffer holds the acknowledgements of."""
    if not requests:
        return ()
    if len(requests) <= LARGEST_BATCH:
        size = HEADER_SIZE * len(requests) + sum([len(request.body) for request in requests])
        if size <= LARGEST_SEND:
            return (requests,)
    return _parts(requests)


def _parts(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    part: list[Request] = []
    size = 0
    for request in requests:
        length = HEADER_SIZE + len(request.body)
        if part and (len(part) == LARGEST_BATCH or size + length > LARGEST_SEND):
            yield part
            part, size = [], 0
        part.append(request)
        size += length
    if part:
        yield part
