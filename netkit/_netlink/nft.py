"""nf_tables: tables, chains and rules, and the batch that changes them as a whole.

A change is a transaction: ``transaction([...])`` puts the requests between BEGIN and END, and the kernel
takes all of them or none. Without END it checks them and takes none (``rehearsal``).
Sources: include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h, net/netfilter/{nfnetlink,nf_tables_api}.c,
libnftnl's include/libnftnl/udata.h for comments. The twin is nft(8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netkit._netlink.nft_expressions import be32, be64
from netkit._netlink.nft_policy import (
    BATCH_POLICY,
    CHAIN_POLICY,
    GENERATION_POLICY,
    RULE_POLICY,
    TABLE_POLICY,
    parse_expressions,
    within,
)
from netkit._netlink.policy import decode
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_NONREC,
    Request,
    attribute,
    nested,
    text,
)
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.nft_policy import Expression
    from netkit._netlink.policy import Policy
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Words

NFPROTO_UNSPEC = 0
NFPROTO_INET = 1
NFPROTO_IPV4 = 2
NFPROTO_IPV6 = 10
FAMILY_NAMES = {NFPROTO_INET: "inet", NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6"}

TABLE_FLAG_OWNER = 2

# Hooks of the families ip, ip6 and inet, and the priorities where NAT belongs (nft(8), "Standard priority").
HOOK_PREROUTING = 0
HOOK_FORWARD = 2
HOOK_OUTPUT = 3
HOOK_POSTROUTING = 4
PRIORITY_RAW = -300
PRIORITY_MANGLE = -150
PRIORITY_DSTNAT = -100
PRIORITY_FILTER = 0
PRIORITY_SRCNAT = 100

NLM_F_ECHO = 0x08

_SUBSYSTEM = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
NFTABLES = _SUBSYSTEM << 8  # with a number of enum nf_tables_msg_types, the type of a message
_NEW_TABLE, _GET_TABLE, _DELETE_TABLE = NFTABLES, NFTABLES + 1, NFTABLES + 2
_NEW_CHAIN, _GET_CHAIN, _DELETE_CHAIN = NFTABLES + 3, NFTABLES + 4, NFTABLES + 5
_NEW_RULE, _GET_RULE, _DELETE_RULE = NFTABLES + 6, NFTABLES + 7, NFTABLES + 8
_GET_GENERATION = NFTABLES + 16

_HEADER_SIZE = 4  # struct nfgenmsg: family, version, resource id
_ACCEPT = 1
_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT
_LONGEST_COMMENT = 128


class Rule:
    """A rule as the kernel told it; ``expressions`` and ``userdata`` as bytes."""

    __slots__ = ("chain", "expressions", "family", "handle", "table", "userdata")

    def __init__(
        self, family: int, table: str, chain: str, handle: int, expressions: bytes, userdata: bytes
    ) -> None:
        self.family = family
        self.table = table
        self.chain = chain
        self.handle = handle
        self.expressions = expressions
        self.userdata = userdata

    @property
    def comment(self) -> str | None:
        """What ``nft list`` shows as ``comment "..."``."""
        return parse_comment(self.userdata)

    def parsed(self) -> list[Expression]:
        """Its expressions: ``(name, attributes)``."""
        return parse_expressions(self.expressions, 0, len(self.expressions))

    def counters(self) -> tuple[int, int] | None:
        """Packets and bytes of its counter, None if it has none."""
        for name, values in self.parsed():
            if name == "counter":
                packets, size = values.get("NFTA_COUNTER_PACKETS"), values.get("NFTA_COUNTER_BYTES")
                if not isinstance(packets, int) or not isinstance(size, int):
                    raise ProtocolError("a counter came without packets or bytes")
                return packets, size
        return None

    def __repr__(self) -> str:
        family = FAMILY_NAMES.get(self.family, str(self.family))
        return f"<Rule {family} {self.table} {self.chain} handle {self.handle}>"


# -- transactions ---------------------------------------------------------------------


def transaction(requests: Sequence[Request], generation: int | None = None) -> list[Request]:
    """The requests as one change. With ``generation`` it is refused (ERESTART) if any other came between.

    The last one asks for the acknowledgement: errors come for each in any case, and hundreds of
    acknowledgements would overrun the receive buffer.
    """
    return [*rehearsal(requests, generation), Request(_BATCH_END, 0, _BATCH_HEADER, requests[-1].words)]


def rehearsal(requests: Sequence[Request], generation: int | None = None) -> list[Request]:
    """As transaction, but without END: the kernel checks every request and undoes all."""
    for request in requests:
        request.flags &= ~NLM_F_ACK
    requests[-1].flags |= NLM_F_ACK
    body = _BATCH_HEADER + (b"" if generation is None else be32(1, generation))
    return [Request(_BATCH_BEGIN, 0, body, requests[0].words, BATCH_POLICY, _HEADER_SIZE), *requests]


def get_generation() -> Request:
    """Ask for the number that each transaction of anybody in the namespace raises."""
    return nft_request(_GET_GENERATION, 0, NFPROTO_UNSPEC, b"", "read the generation of nf_tables")


def parse_generation(reply: Reply) -> int:
    """Read the answer to get_generation."""
    value = nft_values(GENERATION_POLICY, reply).get("NFTA_GEN_ID")
    if not isinstance(value, int):
        raise ProtocolError("the generation of nf_tables came without NFTA_GEN_ID")
    return value


def _header(family: int, resource: int = 0) -> bytes:
    return bytes((family, 0)) + resource.to_bytes(2, "big")


_BATCH_HEADER = _header(NFPROTO_UNSPEC, _SUBSYSTEM)


def nft_request(
    kind: int, flags: int, family: int, body: bytes, operation: Words, policy: Policy | None = None
) -> Request:
    """A message of nf_tables; ``kind`` begins with NFTABLES."""
    return Request(kind, flags, _header(family) + body, operation, policy, _HEADER_SIZE)


def nft_values(policy: Policy, reply: Reply) -> dict[str, object]:
    """The attributes of a message of nf_tables, by their kernel names."""
    _, data, start, end = reply
    if end - start < _HEADER_SIZE:
        raise ProtocolError(f"a message of nf_tables has {end - start} bytes, too few for its header")
    return decode(policy, data, start + _HEADER_SIZE, end)


# -- tables and chains ----------------------------------------------------------------


def new_table(family: int, name: str, *, owner: bool = False, exclusive: bool = False) -> Request:
    """``nft add table``; with ``exclusive`` ``nft create table``.

    ``owner``: only this socket may change it, and it goes with this socket (Linux 5.12).
    """
    flags = NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0)
    body = text(1, name) + be32(2, TABLE_FLAG_OWNER if owner else 0)
    words = ("create nft table '", FAMILY_NAMES.get(family, family), " ", name, "'")
    return nft_request(_NEW_TABLE, flags, family, body, words, TABLE_POLICY)


def delete_table(family: int, name: str, *, only_empty: bool = False) -> Request:
    """``nft delete table``; with ``only_empty`` BusyError while it has chains or sets."""
    words = f"delete nft table '{table_words(family, name)}'"
    flags = NLM_F_NONREC if only_empty else 0
    return nft_request(_DELETE_TABLE, flags, family, text(1, name), words, TABLE_POLICY)


def new_nat_chain(family: int, table: str, name: str, hook: int, priority: int) -> Request:
    """``nft add chain ... { type nat hook HOOK priority PRIORITY; policy accept; }``."""
    return new_chain(family, table, name, hook=(hook, priority), kind="nat")


def new_chain(
    family: int, table: str, name: str, *, hook: tuple[int, int] | None = None, kind: str = "filter"
) -> Request:
    """``nft add chain``; with ``hook`` (and its priority) packets come by, without it by jumps only."""
    body = text(1, table) + text(3, name)
    if hook is not None:
        body += nested(4, be32(1, hook[0]), be32(2, hook[1])) + be32(5, _ACCEPT) + text(7, kind)
    words = ("create nft chain '", FAMILY_NAMES.get(family, family), " ", table, " ", name, "'")
    return nft_request(_NEW_CHAIN, NLM_F_CREATE, family, body, words, CHAIN_POLICY)


def dump_chains() -> Request:
    """Ask for all chains. Twin: ``nft list chains``."""
    return nft_request(_GET_CHAIN, 0, NFPROTO_UNSPEC, b"", "list nft chains", CHAIN_POLICY)


class Chain:
    """A chain as the kernel told it; ``hook`` is None where packets come by jumps only."""

    __slots__ = ("drops", "family", "hook", "kind", "name", "table")

    def __init__(self, family: int, values: dict[str, object]) -> None:
        self.family = family
        self.table, self.name = str(values.get("NFTA_CHAIN_TABLE")), str(values.get("NFTA_CHAIN_NAME"))
        self.kind = values.get("NFTA_CHAIN_TYPE")
        self.hook = within(values.get("NFTA_CHAIN_HOOK"), "NFTA_HOOK_HOOKNUM")
        self.drops = self.hook is not None and values.get("NFTA_CHAIN_POLICY") == 0


def parse_chains(replies: Sequence[Reply]) -> Iterator[Chain]:
    """The chains among replies."""
    for reply in replies:
        if reply[0] == _NEW_CHAIN:
            yield Chain(reply[1][reply[2]], nft_values(CHAIN_POLICY, reply))


def delete_chain(family: int, table: str, name: str, *, with_rules: bool = False) -> Request:
    """``nft delete chain``; BusyError while it has rules, which with ``with_rules`` go as well."""
    words = f"delete nft chain '{table_words(family, table)} {name}'"
    flags = 0 if with_rules else NLM_F_NONREC
    return nft_request(_DELETE_CHAIN, flags, family, text(1, table) + text(3, name), words, CHAIN_POLICY)


def table_words(family: int, name: str) -> str:
    """A table as nft writes it, for the words of an operation."""
    return f"{FAMILY_NAMES.get(family, family)} {name}"


# -- rules ----------------------------------------------------------------------------


def new_rule(
    family: int,
    table: str,
    chain: str,
    expressions: bytes,
    userdata: bytes,
    operation: Words,
    *,
    echo: bool = False,
    first: bool = False,
) -> Request:
    """``nft add rule``, with ``first`` ``nft insert rule``; with ``echo`` it comes back with its handle."""
    body = text(1, table) + text(2, chain) + nested(4, expressions)
    if userdata:
        body += attribute(7, userdata)
    flags = NLM_F_CREATE | (0 if first else NLM_F_APPEND) | (NLM_F_ECHO if echo else 0)
    return nft_request(_NEW_RULE, flags, family, body, operation, RULE_POLICY)


def delete_rule(family: int, table: str, chain: str, handle: int) -> Request:
    """``nft delete rule FAMILY TABLE CHAIN handle HANDLE``."""
    words = f"delete nft rule '{table_words(family, table)} {chain} handle {handle}'"
    return nft_request(_DELETE_RULE, 0, family, _rule_body(table, chain, handle), words, RULE_POLICY)


def get_rule(family: int, table: str, chain: str, handle: int) -> Request:
    """Ask for one rule."""
    words = f"read nft rule '{table_words(family, table)} {chain} handle {handle}'"
    return nft_request(_GET_RULE, 0, family, _rule_body(table, chain, handle), words, RULE_POLICY)


def dump_rules(family: int = NFPROTO_UNSPEC, table: str | None = None, chain: str | None = None) -> Request:
    """Ask for all rules, or those of one family, or of one table of one family, or of one chain of it."""
    words = "list nft rules" if table is None else f"list rules of nft table '{table_words(family, table)}'"
    body = (b"" if table is None else text(1, table)) + (b"" if chain is None else text(2, chain))
    return nft_request(_GET_RULE, 0, family, body, words, RULE_POLICY)


def _rule_body(table: str, chain: str, handle: int) -> bytes:
    return text(1, table) + text(2, chain) + be64(3, handle)


def parse_rule(reply: Reply) -> Rule | None:
    """Read a rule; None for another kind of message. Raises ProtocolError."""
    kind, data, start, _ = reply
    if kind != _NEW_RULE:
        return None
    values = nft_values(RULE_POLICY, reply)
    table, chain, handle = (values.get(f"NFTA_RULE_{name}") for name in ("TABLE", "CHAIN", "HANDLE"))
    if not (isinstance(table, str) and isinstance(chain, str) and isinstance(handle, int)):
        raise ProtocolError("a rule came without table, chain or handle")
    expressions = values.get("NFTA_RULE_EXPRESSIONS", b"")
    userdata = values.get("NFTA_RULE_USERDATA", b"")
    assert isinstance(expressions, bytes)
    assert isinstance(userdata, bytes)
    return Rule(data[start], table, chain, handle, expressions, userdata)


def parse_rules(replies: Sequence[Reply]) -> Iterator[Rule]:
    """The rules among replies, in order."""
    for reply in replies:
        rule = parse_rule(reply)
        if rule is not None:
            yield rule


def comment(words: str) -> bytes:
    """User data that ``nft list`` shows as ``comment "..."``."""
    payload = words.encode() + b"\0"
    if len(payload) > _LONGEST_COMMENT:
        raise ValueError(f"a comment of {len(payload) - 1} bytes: at most {_LONGEST_COMMENT - 1}")
    return bytes((_COMMENT, len(payload))) + payload


def parse_comment(userdata: bytes) -> str | None:
    """The comment in a rule's user data. What is no list of type, length, value has none."""
    start = 0
    while start + 2 <= len(userdata):
        kind, length = userdata[start], userdata[start + 1]
        value = userdata[start + 2 : start + 2 + length]
        if kind == _COMMENT and len(value) == length:
            return value.rstrip(b"\0").decode(errors="replace")
        start += 2 + length
    return None
