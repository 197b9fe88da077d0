"""Whether a route or rule is there that a noted deletion would delete, for `netkit gc --dry-run`.

Who deletes is told so by the kernel.
"""

from __future__ import annotations

from sys import byteorder

from netkit._lifecycle.protocol_mark import is_there
from netkit._netlink.route import RTM_DELROUTE, RTM_GETROUTE
from netkit._netlink.rule import RTM_DELRULE, RTM_GETRULE
from netkit._netlink.wire import Request, attributes
from netkit.errors import NotFoundError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import NetlinkSocket

_HEADER = 12  # bytes of rtmsg and of fib_rule_hdr: family, two prefix lengths, tos, table, and then
_PROTOCOL, _SCOPE, _TYPE = 5, 6, 7  # of rtmsg; of fib_rule_hdr the last one is the action
_ANY_SCOPE = 255
_TABLE = 15  # RTA_TABLE and FRA_TABLE
_LATER = {8, 9}  # RTA_METRICS and RTA_MULTIPATH: the kernel writes them in another way than it reads them


def is_present(sock: NetlinkSocket, kind: int, body: bytes) -> bool:
    """As `is_there`, for routes and rules too."""
    if kind not in (RTM_DELROUTE, RTM_DELRULE):
        return is_there(sock, kind, body)
    if len(body) < _HEADER:
        raise ProtocolError("a deletion in a journal is too short")
    asked = RTM_GETROUTE if kind == RTM_DELROUTE else RTM_GETRULE
    request = Request(asked, 0, body[:1] + bytes(_HEADER - 1), "look for what a process has left")
    try:
        replies = sock.dump(request)
    except NotFoundError:
        return False
    return any(_matches(kind, body, bytes(data[start:end])) for _, data, start, end in replies)


def _matches(kind: int, wanted: bytes, found: bytes) -> bool:
    """Whether one that is there has all that the deletion names."""
    if wanted[:4] != found[:4] or wanted[_TYPE] not in (0, found[_TYPE]):
        return False
    if kind == RTM_DELROUTE and not _is_of(wanted, found):
        return False
    of_wanted, of_found = _attributes(wanted), _attributes(found)
    left_out = _LATER if kind == RTM_DELROUTE else ()
    return _table(wanted, of_wanted) == _table(found, of_found) and all(
        value.rstrip(b"\0") == of_found.get(each, b"").rstrip(b"\0")  # zero is left out, names end with it
        for each, value in of_wanted.items()
        if each != _TABLE and each not in left_out
    )


def _is_of(wanted: bytes, found: bytes) -> bool:
    protocols, scopes = (0, found[_PROTOCOL]), (_ANY_SCOPE, found[_SCOPE])
    return wanted[_PROTOCOL] in protocols and wanted[_SCOPE] in scopes


def _table(body: bytes, found: dict[int, bytes]) -> int:
    return int.from_bytes(found.get(_TABLE, body[4:5]), byteorder)


def _attributes(body: bytes) -> dict[int, bytes]:
    return {kind: body[begin:end] for kind, begin, end in attributes(body, _HEADER, len(body))}
