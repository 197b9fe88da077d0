"""Which sockets of the namespace are bound to a port (sock_diag(7)); the twin is ``ss -n``."""

from __future__ import annotations

from struct import Struct

from netkit._netlink.wire import Request
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netkit._netlink.socket import Reply

NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
# struct inet_diag_req_v2: family, protocol, extensions, padding, states, and the 48 bytes of a socket's id.
_REQUEST = Struct("=BBBBI48s")
# struct inet_diag_msg: family, state, timer, retransmissions, source and destination port, addresses,
# interface, cookie, expires, queues, uid, inode.
_ANSWER = Struct("=BBBB2s2s16s16sI8sIIIII")
_ALL_STATES = 0xFFFFFFFF  # bound but not connected too (TCP_BOUND_INACTIVE, Linux 6.8)
TIME_WAIT, UNCONNECTED, LISTENING = 6, 7, 10  # include/net/tcp_states.h
STATES = dict(
    enumerate(
        "established syn-sent syn-recv fin-wait-1 fin-wait-2 time-wait unconnected close-wait last-ack "
        "listening closing new-syn-recv bound".split(),
        start=1,
    )
)


class BoundSocket:
    """A socket: both its ends, state (a number), owner's uid, inode (0: no process)."""

    __slots__ = ("address", "inode", "peer", "peer_port", "port", "state", "uid")

    def __init__(
        self, address: bytes, port: int, peer: bytes, peer_port: int, state: int, uid: int, inode: int
    ) -> None:
        self.address = address
        self.port = port
        self.peer = peer
        self.peer_port = peer_port
        self.state = state
        self.uid = uid
        self.inode = inode


def dump_sockets(family: int, proto: int) -> Request:
    """Ask for all sockets of a family (AF_INET, AF_INET6) and protocol (6 or 17)."""
    body = _REQUEST.pack(family, proto, 0, 0, _ALL_STATES, bytes(48))
    return Request(_SOCK_DIAG_BY_FAMILY, 0, body, "list the sockets of the namespace")


def parse_sockets(replies: Iterable[Reply]) -> Iterator[BoundSocket]:
    """The sockets among replies."""
    for kind, data, start, end in replies:
        if kind != _SOCK_DIAG_BY_FAMILY:
            continue
        if end - start < _ANSWER.size:
            raise ProtocolError(f"a socket came in {end - start} bytes, too few")
        family, state, _, _, port, peer_port, source, peer, *_, uid, inode = _ANSWER.unpack_from(data, start)
        length = 4 if family == 2 else 16
        ports = int.from_bytes(port, "big"), int.from_bytes(peer_port, "big")
        yield BoundSocket(source[:length], ports[0], peer[:length], ports[1], state, uid, inode)
