"""Attribute tables of nf_tables: include/uapi/linux/netfilter/nf_tables.h. Its integers are big-endian."""

from __future__ import annotations

from netkit._netlink.policy import Attribute, Policy, be32, be64, binary, decode, nest, text, u8
from netkit._netlink.wire import attributes
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Expression = tuple[str, dict[str, object]]

GENERATION_POLICY: Policy = {
    1: Attribute("NFTA_GEN_ID", be32),
    2: Attribute("NFTA_GEN_PROC_PID", be32),
    3: Attribute("NFTA_GEN_PROC_NAME", text),
}
BATCH_POLICY: Policy = {1: Attribute("NFNL_BATCH_GENID", be32)}

TABLE_POLICY: Policy = {
    1: Attribute("NFTA_TABLE_NAME", text),
    2: Attribute("NFTA_TABLE_FLAGS", be32),
    3: Attribute("NFTA_TABLE_USE", be32),
    4: Attribute("NFTA_TABLE_HANDLE", be64),
    6: Attribute("NFTA_TABLE_USERDATA", binary),
    7: Attribute("NFTA_TABLE_OWNER", be32),
}

_HOOK_POLICY: Policy = {
    1: Attribute("NFTA_HOOK_HOOKNUM", be32),
    2: Attribute("NFTA_HOOK_PRIORITY", be32),
    3: Attribute("NFTA_HOOK_DEV", text),
}

CHAIN_POLICY: Policy = {
    1: Attribute("NFTA_CHAIN_TABLE", text),
    2: Attribute("NFTA_CHAIN_HANDLE", be64),
    3: Attribute("NFTA_CHAIN_NAME", text),
    4: nest("NFTA_CHAIN_HOOK", _HOOK_POLICY),
    5: Attribute("NFTA_CHAIN_POLICY", be32),
    6: Attribute("NFTA_CHAIN_USE", be32),
    7: Attribute("NFTA_CHAIN_TYPE", text),
    10: Attribute("NFTA_CHAIN_FLAGS", be32),
}

_VERDICT_POLICY: Policy = {
    1: Attribute("NFTA_VERDICT_CODE", be32),
    2: Attribute("NFTA_VERDICT_CHAIN", text),
}
_DATA_POLICY: Policy = {
    1: Attribute("NFTA_DATA_VALUE", binary),
    2: nest("NFTA_DATA_VERDICT", _VERDICT_POLICY),
}

# What each kind of expression holds.
EXPRESSION_POLICIES: dict[str, Policy] = {
    "payload": {
        1: Attribute("NFTA_PAYLOAD_DREG", be32),
        2: Attribute("NFTA_PAYLOAD_BASE", be32),
        3: Attribute("NFTA_PAYLOAD_OFFSET", be32),
        4: Attribute("NFTA_PAYLOAD_LEN", be32),
    },
    "meta": {
        1: Attribute("NFTA_META_DREG", be32),
        2: Attribute("NFTA_META_KEY", be32),
        3: Attribute("NFTA_META_SREG", be32),
    },
    "ct": {
        1: Attribute("NFTA_CT_DREG", be32),
        2: Attribute("NFTA_CT_KEY", be32),
        3: Attribute("NFTA_CT_DIRECTION", u8),
        4: Attribute("NFTA_CT_SREG", be32),
    },
    "cmp": {
        1: Attribute("NFTA_CMP_SREG", be32),
        2: Attribute("NFTA_CMP_OP", be32),
        3: nest("NFTA_CMP_DATA", _DATA_POLICY),
    },
    "bitwise": {
        1: Attribute("NFTA_BITWISE_SREG", be32),
        2: Attribute("NFTA_BITWISE_DREG", be32),
        3: Attribute("NFTA_BITWISE_LEN", be32),
        4: nest("NFTA_BITWISE_MASK", _DATA_POLICY),
        5: nest("NFTA_BITWISE_XOR", _DATA_POLICY),
        6: Attribute("NFTA_BITWISE_OP", be32),
        7: nest("NFTA_BITWISE_DATA", _DATA_POLICY),
    },
    "range": {
        1: Attribute("NFTA_RANGE_SREG", be32),
        2: Attribute("NFTA_RANGE_OP", be32),
        3: nest("NFTA_RANGE_FROM_DATA", _DATA_POLICY),
        4: nest("NFTA_RANGE_TO_DATA", _DATA_POLICY),
    },
    "immediate": {
        1: Attribute("NFTA_IMMEDIATE_DREG", be32),
        2: nest("NFTA_IMMEDIATE_DATA", _DATA_POLICY),
    },
    "nat": {
        1: Attribute("NFTA_NAT_TYPE", be32),
        2: Attribute("NFTA_NAT_FAMILY", be32),
        3: Attribute("NFTA_NAT_REG_ADDR_MIN", be32),
        4: Attribute("NFTA_NAT_REG_ADDR_MAX", be32),
        5: Attribute("NFTA_NAT_REG_PROTO_MIN", be32),
        6: Attribute("NFTA_NAT_REG_PROTO_MAX", be32),
        7: Attribute("NFTA_NAT_FLAGS", be32),
    },
    "masq": {
        1: Attribute("NFTA_MASQ_FLAGS", be32),
        2: Attribute("NFTA_MASQ_REG_PROTO_MIN", be32),
        3: Attribute("NFTA_MASQ_REG_PROTO_MAX", be32),
    },
    "redir": {
        1: Attribute("NFTA_REDIR_REG_PROTO_MIN", be32),
        2: Attribute("NFTA_REDIR_REG_PROTO_MAX", be32),
        3: Attribute("NFTA_REDIR_FLAGS", be32),
    },
    "tproxy": {
        1: Attribute("NFTA_TPROXY_FAMILY", be32),
        2: Attribute("NFTA_TPROXY_REG_ADDR", be32),
        3: Attribute("NFTA_TPROXY_REG_PORT", be32),
    },
    "socket": {
        1: Attribute("NFTA_SOCKET_KEY", be32),
        2: Attribute("NFTA_SOCKET_DREG", be32),
    },
    "match": {
        1: Attribute("NFTA_MATCH_NAME", text),
        2: Attribute("NFTA_MATCH_REV", be32),
        3: Attribute("NFTA_MATCH_INFO", binary),
    },
    "target": {
        1: Attribute("NFTA_TARGET_NAME", text),
        2: Attribute("NFTA_TARGET_REV", be32),
        3: Attribute("NFTA_TARGET_INFO", binary),
    },
    "numgen": {
        1: Attribute("NFTA_NG_DREG", be32),
        2: Attribute("NFTA_NG_MODULUS", be32),
        3: Attribute("NFTA_NG_TYPE", be32),
        4: Attribute("NFTA_NG_OFFSET", be32),
    },
    "hash": {
        1: Attribute("NFTA_HASH_SREG", be32),
        2: Attribute("NFTA_HASH_DREG", be32),
        3: Attribute("NFTA_HASH_LEN", be32),
        4: Attribute("NFTA_HASH_MODULUS", be32),
        5: Attribute("NFTA_HASH_SEED", be32),
        6: Attribute("NFTA_HASH_OFFSET", be32),
        7: Attribute("NFTA_HASH_TYPE", be32),
    },
    "lookup": {
        1: Attribute("NFTA_LOOKUP_SET", text),
        2: Attribute("NFTA_LOOKUP_SREG", be32),
        3: Attribute("NFTA_LOOKUP_DREG", be32),
        4: Attribute("NFTA_LOOKUP_SET_ID", be32),
        5: Attribute("NFTA_LOOKUP_FLAGS", be32),
    },
    "fib": {
        1: Attribute("NFTA_FIB_DREG", be32),
        2: Attribute("NFTA_FIB_RESULT", be32),
        3: Attribute("NFTA_FIB_FLAGS", be32),
    },
    "counter": {
        1: Attribute("NFTA_COUNTER_BYTES", be64),
        2: Attribute("NFTA_COUNTER_PACKETS", be64),
    },
}

_EXPRESSION_POLICY: Policy = {
    1: Attribute("NFTA_EXPR_NAME", text),
    2: Attribute("NFTA_EXPR_DATA", binary),
}
_LIST_POLICY: Policy = {1: nest("NFTA_LIST_ELEM", _EXPRESSION_POLICY)}

# NFTA_RULE_EXPRESSIONS stays bytes: what is moved to another table is sent back as it came.
RULE_POLICY: Policy = {
    1: Attribute("NFTA_RULE_TABLE", text),
    2: Attribute("NFTA_RULE_CHAIN", text),
    3: Attribute("NFTA_RULE_HANDLE", be64),
    4: Attribute("NFTA_RULE_EXPRESSIONS", binary, _LIST_POLICY),
    6: Attribute("NFTA_RULE_POSITION", be64),
    7: Attribute("NFTA_RULE_USERDATA", binary),
}


SET_POLICY: Policy = {
    1: Attribute("NFTA_SET_TABLE", text),
    2: Attribute("NFTA_SET_NAME", text),
    3: Attribute("NFTA_SET_FLAGS", be32),
    4: Attribute("NFTA_SET_KEY_TYPE", be32),
    5: Attribute("NFTA_SET_KEY_LEN", be32),
    6: Attribute("NFTA_SET_DATA_TYPE", be32),
    7: Attribute("NFTA_SET_DATA_LEN", be32),
    8: Attribute("NFTA_SET_POLICY", be32),
    9: Attribute("NFTA_SET_DESC", binary),
    10: Attribute("NFTA_SET_ID", be32),
    13: Attribute("NFTA_SET_USERDATA", binary),
    16: Attribute("NFTA_SET_HANDLE", be64),
    17: Attribute("NFTA_SET_EXPR", binary, _EXPRESSION_POLICY),
}
ELEMENT_POLICY: Policy = {
    1: nest("NFTA_SET_ELEM_KEY", _DATA_POLICY),
    2: nest("NFTA_SET_ELEM_DATA", _DATA_POLICY),
    3: Attribute("NFTA_SET_ELEM_FLAGS", be32),
    7: nest("NFTA_SET_ELEM_EXPR", _EXPRESSION_POLICY),
    10: nest("NFTA_SET_ELEM_KEY_END", _DATA_POLICY),
}
ELEMENTS_POLICY: Policy = {
    1: Attribute("NFTA_SET_ELEM_LIST_TABLE", text),
    2: Attribute("NFTA_SET_ELEM_LIST_SET", text),
    3: Attribute("NFTA_SET_ELEM_LIST_ELEMENTS", binary, {1: nest("NFTA_LIST_ELEM", ELEMENT_POLICY)}),
    4: Attribute("NFTA_SET_ELEM_LIST_SET_ID", be32),
}


def within(values: object, name: str) -> object:
    """A member of a nested attribute; None where there is no such attribute, or no such member."""
    members: dict[str, object] = values if isinstance(values, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    return members.get(name)


def parse_expressions(data: memoryview | bytes, start: int, end: int) -> list[Expression]:
    """The expressions of a rule in order: ``(name, attributes by their kernel names)``.

    One of a kind that has no table here comes with no attributes. Raises ProtocolError.
    """
    found: list[Expression] = []
    for _, begin, stop in attributes(data, start, end):
        name, content = "", (stop, stop)
        for kind, inner, last in attributes(data, begin, stop):
            if kind == 1:
                name = text(data, inner, last)
            elif kind == 2:
                content = inner, last
        if not name:
            raise ProtocolError("a rule has an expression without a name")
        found.append((name, decode(EXPRESSION_POLICIES.get(name, {}), data, *content)))
    return found
