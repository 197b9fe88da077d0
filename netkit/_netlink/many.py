"""Messages to many sockets: all are sent before an answer is looked for.

The kernel has done its work when `send` returns, and answers a refused message also where no ACK was asked
for (netlink_rcv_skb in net/netlink/af_netlink.c). So where all goes well nothing is received: one poll(2)
tells which sockets have an answer, and only those have refused something.
"""

from __future__ import annotations

from _socket import socket

from netkit._netlink.batch import LARGEST_BATCH, LARGEST_SEND
from netkit._netlink.transport import not_sent
from netkit._netlink.wire import HEADER_SIZE, NLM_F_ACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request
    from netkit.errors import KernelError

    Queue = tuple[NetlinkSocket, Sequence[Request]]
    Outcomes = Sequence[KernelError | None]

_FEW = 3  # up to here it is as quick to ask each for its ACK
_EVERY_ANSWER = 0x0001 | 0x0008 | 0x0010  # POLLIN, POLLERR, POLLHUP


def batch_many(queues: Sequence[Queue]) -> list[Outcomes]:
    """`NetlinkSocket.batch` for each of many sockets, which is in it once: the outcomes of each, in order.

    The kernel goes on after a refused message.
    """
    if len(queues) <= _FEW or not all(_is_one_send(*each) for each in queues):
        return [sock.batch(requests) for sock, requests in queues]
    locked: list[NetlinkSocket] = []
    try:
        # In one order, or two threads with the same sockets would wait for each other.
        for sock in sorted([sock for sock, _ in queues], key=id):
            sock._lock.acquire()
            locked.append(sock)
        return _sent(queues)
    finally:
        for sock in locked:
            sock._lock.release()


def _is_one_send(sock: NetlinkSocket, requests: Sequence[Request]) -> bool:
    """Whether poll() can tell of its answer, and one send and one receive buffer hold all."""
    size = 0
    for each in requests:
        if not each.flags & NLM_F_ACK:
            return False
        size += HEADER_SIZE + len(each.body)
    return size <= LARGEST_SEND and len(requests) <= LARGEST_BATCH and isinstance(sock._sock, socket)


def _sent(queues: Sequence[Queue]) -> list[Outcomes]:
    """With the locks of all of them: what each has answered once everything is sent."""
    from select import poll

    sending = [sock._prepared(requests) for sock, requests in queues]
    for (transport, data, _), (sock, requests) in zip(sending, queues, strict=True):
        try:
            transport.send(data)
        except OSError as problem:
            not_sent(transport, data, requests[0], sock.label, problem)
    poller, numbers = poll(), [sock.fileno() for sock, _ in queues]
    for number in numbers:
        poller.register(number, _EVERY_ANSWER)
    answered = dict(poller.poll(0))
    return [
        sock._answered(requests, first) if number in answered else sock._accepted(requests)
        for number, (_, _, first), (sock, requests) in zip(numbers, sending, queues, strict=True)
    ]
