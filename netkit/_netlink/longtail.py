"""The long tail, through pyroute2: the only importer of it, and only when it is called.

Importing pyroute2 takes some 150 ms and building a message ten times what ours take, which does
not matter for what is done once.
"""

from __future__ import annotations

import socket as _socket
from collections.abc import Callable, Mapping

from netkit._netlink.link_message import IFLA_INFO_DATA, IFLA_LINKINFO
from netkit._netlink.link_policy import IFINFOMSG_SIZE
from netkit._netlink.wire import HEADER_SIZE, attributes
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroute2.iproute.linux import IPRoute  # pyright: ignore[reportMissingTypeStubs]

_BUFFER = 1024 * 1024


def open_iproute(open_socket: Callable[[int, int, int], _socket.socket]) -> IPRoute:
    """A pyroute2.IPRoute over a netlink socket that ``open_socket(family, type, protocol)`` opens.

    So it speaks to that socket's namespace, whatever namespace the thread is in, and without a
    fork. pyroute2 refuses its use from another thread; inside a running event loop it does not work.
    """
    from pyroute2.iproute.linux import IPRoute  # pyright: ignore[reportMissingTypeStubs]

    sock = open_socket(_socket.AF_NETLINK, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _BUFFER)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _BUFFER)
        # groups=0: it would queue every event for ever. Extended ACKs are options of the socket.
        sock.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK
        return IPRoute(  # type: ignore[no-untyped-call]
            use_socket=sock, groups=0, ext_ack=True
        )
    except BaseException:
        sock.close()
        raise


def link_data(kind: str, values: Mapping[str, object]) -> bytes:
    """The content of IFLA_INFO_DATA for a kind that link_kinds.py has no table for.

    ``values`` are by the kernel's names, as pyroute2 encodes them: ``{"IFLA_IPVLAN_MODE": 0}``.
    Hand the result to ``link.new_link``. Raises SpecError for what pyroute2 cannot encode.
    """
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # pyright: ignore[reportMissingTypeStubs]

    data = {"attrs": list(values.items())}
    info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", data)]}
    message: Any = ifinfmsg()  # type: ignore[no-untyped-call]
    message["attrs"] = [("IFLA_LINKINFO", info)]
    try:
        message.encode()
    except Exception as problem:  # whatever its encoders raise: struct.error, TypeError, OSError
        raise SpecError(f"options {shown(dict(values))} of a {kind}: {problem!r}") from problem
    encoded = bytes(message.data)
    start, end = _found(encoded, HEADER_SIZE + IFINFOMSG_SIZE, len(encoded), IFLA_LINKINFO)
    start, end = _found(encoded, start, end, IFLA_INFO_DATA)
    if start == end and values:  # it drops names it does not know without a word
        raise SpecError(f"pyroute2 knows none of {', '.join(values)} of a {kind}")
    return encoded[start:end]


def _found(data: bytes, start: int, end: int, wanted: int) -> tuple[int, int]:
    for number, begin, stop in attributes(data, start, end):
        if number == wanted:
            return begin, stop
    return end, end
