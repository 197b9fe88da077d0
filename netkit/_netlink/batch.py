"""Many messages in one send: how many, and with which sequence numbers."""

from __future__ import annotations

from netkit._netlink.wire import HEADER_SIZE, NLM_F_ACK, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A default receive buffer of 208 KiB loses acknowledgements at 300 of them; 128 are safe.
LARGEST_BATCH = 128
LARGEST_SEND = 64 * 1024
SEQUENCE_MASK = 0x7FFFFFFF


def packed(requests: Sequence[Request], first: int, flags: int, quiet: bool) -> bytes:
    """The messages of a send; ``quiet``: only the last one asks for an ACK."""
    numbered = enumerate(requests, first)
    dropped = NLM_F_ACK if quiet else 0
    parts = [each.pack(number & SEQUENCE_MASK, flags, dropped) for number, each in numbered]
    if quiet:
        parts[-1] = requests[-1].pack((first + len(requests) - 1) & SEQUENCE_MASK, flags)
    return b"".join(parts)


def split(requests: Sequence[Request]) -> Iterable[Sequence[Request]]:
    """Parts that one receive buffer holds the acknowledgements of."""
    sizes = [HEADER_SIZE + len(request.body) for request in requests]
    if len(sizes) <= LARGEST_BATCH and sum(sizes) <= LARGEST_SEND:
        return (requests,) if sizes else ()
    return _parts(requests, sizes)


def _parts(requests: Sequence[Request], sizes: Sequence[int]) -> Iterator[Sequence[Request]]:
    part: list[Request] = []
    size = 0
    for request, length in zip(requests, sizes, strict=True):
        if part and (len(part) == LARGEST_BATCH or size + length > LARGEST_SEND):
            yield part
            part, size = [], 0
        part.append(request)
        size += length
    if part:
        yield part
