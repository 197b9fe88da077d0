"""nf_tables without a kernel: hostile replies, comments, and the book-keeping of our table."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._nat.nftables_owned import OwnedTable, slices
from netkit._nat.nftables_rules import RuleId, by_mark
from netkit._netlink import nft
from netkit._netlink.nft_expressions import counter, masquerade, match_device, match_network, match_ports
from netkit._netlink.nft_policy import RULE_POLICY
from netkit._netlink.policy import attribute_at
from netkit._netlink.wire import NLM_F_ACK, attribute, nested, text
from netkit.errors import ProtocolError

NEW_RULE, NEW_GENERATION = 0x0A06, 0x0A0F

# What Linux 6.18 answered to NFT_MSG_GETRULE for
#   tcp dport 80 counter packets 0 bytes 0 dnat ip to 172.18.0.2:80 comment "netkit:0123"
CAPTURED = bytes.fromhex(
    "010000020d0001006e65746b69742d31000000000f000200707265726f7574696e6700000c0003000000000000000002"
    "8001040024000100090001006d6574610000000014000200080002000000001008000100000000012c00010008000100"
    "636d700020000200080001000000000108000200000000000c0003000500010006000000340001000c0001007061796c"
    "6f6164002400020008000100000000010800020000000002080003000000000208000400000000022c00010008000100"
    "636d700020000200080001000000000108000200000000000c00030006000100005000002c0001000c000100636f756e"
    "746572001c0002000c00010000000000000000000c00020000000000000000002c0001000e000100696d6d6564696174"
    "650000001800020008000100000000010c00020008000100ac1200022c0001000e000100696d6d656469617465000000"
    "1800020008000100000000020c000200060001000050000048000100080001006e6174003c0002000800010000000001"
    "080002000000000208000300000000010800040000000001080005000000000208000600000000020800070000000003"
    "12000700000c6e65746b69743a30313233000000"
)


def reply(body: bytes, kind: int = NEW_RULE) -> tuple[int, memoryview, int, int]:
    return kind, memoryview(body), 0, len(body)


def read_everything(body: bytes) -> nft.Rule | None:
    rule = nft.parse_rule(reply(body))
    if rule is not None:
        rule.parsed(), rule.counters(), rule.comment, repr(rule)
    return rule


def test_a_captured_rule_is_read() -> None:
    rule = read_everything(CAPTURED)
    assert rule is not None
    assert (rule.family, rule.table, rule.chain, rule.handle) == (
        nft.NFPROTO_INET,
        "netkit-1",
        "prerouting",
        2,
    )
    assert rule.comment == "netkit:0123"
    assert rule.counters() == (0, 0)
    names = [name for name, _ in rule.parsed()]
    assert names == ["meta", "cmp", "payload", "cmp", "counter", "immediate", "immediate", "nat"]
    assert rule.parsed()[3][1]["NFTA_CMP_DATA"] == {"NFTA_DATA_VALUE": (80).to_bytes(2, "big")}


def test_a_truncated_rule_is_a_protocol_error_at_worst() -> None:
    cut = []
    for length in range(len(CAPTURED)):
        try:
            read_everything(CAPTURED[:length])
        except ProtocolError:
            cut.append(length)
    # Cut between two attributes behind the handle, it is still a rule.
    assert {*range(CAPTURED.index(b"prerouting") + 11)} <= {*cut}
    assert len(cut) > 0.9 * len(CAPTURED)


@given(st.lists(st.tuples(st.integers(0, len(CAPTURED) - 1), st.integers(0, 255)), max_size=12))
def test_a_damaged_rule_is_a_protocol_error_at_worst(damages: list[tuple[int, int]]) -> None:
    body = bytearray(CAPTURED)
    for place, value in damages:
        body[place] = value
    with suppress(ProtocolError):
        read_everything(bytes(body))


@given(st.binary(max_size=200))
def test_junk_is_a_protocol_error_at_worst(junk: bytes) -> None:
    for read in (nft.parse_rule, nft.parse_generation):
        with suppress(ProtocolError):
            read(reply(junk))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\1\0\0",
        b"\1\0\0\0",
        b"\1\0\0\0" + text(1, "t") + text(2, "c"),
        b"\1\0\0\0" + text(1, "t") + text(2, "c") + attribute(3, b"\0\0"),
    ],
)
def test_a_rule_without_its_identity_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        nft.parse_rule(reply(body))


@pytest.mark.parametrize(
    "expressions",
    [
        nested(1, text(1, "")),
        nested(1),
        nested(1, text(1, "counter")),
        nested(1, text(1, "counter"), nested(2, attribute(1, b"\0"))),
        b"\xff\xff\1\0",
    ],
)
def test_a_broken_expression_is_a_protocol_error(expressions: bytes) -> None:
    rule = nft.Rule(nft.NFPROTO_INET, "t", "c", 1, expressions, b"")
    with pytest.raises(ProtocolError):
        rule.counters()


def test_other_messages_and_unknown_expressions_are_passed_over() -> None:
    assert nft.parse_rule(reply(b"", NEW_GENERATION)) is None
    rule = nft.Rule(nft.NFPROTO_INET, "t", "c", 1, nested(1, text(1, "of-a-later-kernel")), b"")
    assert rule.parsed() == [("of-a-later-kernel", {})]
    assert rule.counters() is None


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=31))
def test_a_comment_comes_back(words: str) -> None:
    assert nft.parse_comment(nft.comment(words)) == words


@given(st.binary(max_size=300))
def test_foreign_user_data_is_no_error(userdata: bytes) -> None:
    nft.parse_comment(userdata)


def test_a_comment_behind_other_user_data_is_found() -> None:
    assert nft.parse_comment(b"\7\2ab" + nft.comment("netkit:1")) == "netkit:1"
    assert nft.parse_comment(b"\0\x09netk") is None
    with pytest.raises(ValueError, match="at most 127"):
        nft.comment("x" * 128)


def test_only_the_last_request_of_a_transaction_is_acknowledged() -> None:
    requests = [nft.new_table(nft.NFPROTO_INET, "t"), nft.delete_table(nft.NFPROTO_INET, "t")]
    whole = nft.transaction(requests, generation=7)
    assert [request.kind for request in whole] == [0x10, 0x0A00, 0x0A02, 0x11]
    assert [bool(request.flags & NLM_F_ACK) for request in whole] == [False, False, True, False]
    # nfgenmsg with the subsystem as resource id, then NFNL_BATCH_GENID.
    assert whole[0].body == b"\0\0\0\x0a" + attribute(1, b"\0\0\0\7")
    assert nft.rehearsal(requests)[0].body == b"\0\0\0\x0a"
    # An error with the sequence number of BEGIN (EPERM) says what was asked too.
    assert whole[0].operation == requests[0].operation == "create nft table 'inet t'"


def test_an_extended_ack_names_the_attribute_inside_an_expression() -> None:
    content = match_device(6, "eth0") + counter() + masquerade()
    request = nft.new_rule(nft.NFPROTO_INET, "t", "c", content, nft.comment("m"), "add a rule")
    offset = request.body.index(b"masq\0") - 4
    where = "NFTA_RULE_EXPRESSIONS.NFTA_LIST_ELEM.NFTA_EXPR_NAME"
    assert attribute_at(RULE_POLICY, request.body, 4, offset) == where
    assert attribute_at(RULE_POLICY, request.body, 4, 4) == "NFTA_RULE_TABLE"


def test_addresses_are_compared_up_to_their_prefix() -> None:
    network = bytes((10, 0, 16, 0))
    assert b"\xff\xff\xf0\x00" in match_network(12, network, 20)
    assert b"bitwise" not in match_network(12, network, 24)
    assert network[:3] in match_network(12, network, 24)
    assert match_ports(0, 1, 2) != match_ports(0, 1, 2, negated=True)


# -- our table's books ------------------------------------------------------------------

FAMILIES_AND_CHAINS = st.tuples(
    st.sampled_from([nft.NFPROTO_IPV4, nft.NFPROTO_IPV6]),
    st.sampled_from(["prerouting", "output", "postrouting"]),
)
TABLES = st.lists(st.tuples(st.sampled_from("abcdefgh"), FAMILIES_AND_CHAINS), max_size=20)


def rules(content: list[tuple[str, tuple[int, str]]]) -> list[nft.Rule]:
    return [
        nft.Rule(family, "ours", chain, handle, b"", nft.comment(f"netkit:{mark}"))
        for handle, (mark, (family, chain)) in enumerate(content)
    ]


def words(owned: OwnedTable, leaving: list[RuleId]) -> list[str]:
    return [request.operation for request in owned.deletion(leaving)]


@given(content=TABLES, leaving=st.sets(st.sampled_from("abcdefgh")))
def test_chains_and_tables_go_with_their_last_rule(
    content: list[tuple[str, tuple[int, str]]], leaving: set[str]
) -> None:
    owned = OwnedTable("ours")
    owned.learn(rules(content))
    gone = owned.known([RuleId(f"netkit:{mark}", "ours", ()) for mark in leaving])
    left = [(mark, place) for mark, place in content if mark not in leaving]
    families = {family for _, (family, _) in left}
    asked = words(owned, gone)
    emptied = {place for _, place in content} - {place for _, place in left}
    names = nft.FAMILY_NAMES
    assert {line for line in asked if "chain" in line} == {
        f"delete nft chain '{names[family]} ours {chain}'" for family, chain in emptied if family in families
    }
    assert {line for line in asked if "table" in line} == {
        f"delete nft table '{names[family]} ours'" for family, _ in emptied if family not in families
    }
    owned.forget(gone)
    assert len(owned) == len({mark for mark, _ in left})
    # What is needed again is what went.
    again = [request.operation for request in owned.creation(emptied)]
    assert sum("chain" in line for line in again) == len(emptied)


@given(content=TABLES, most=st.integers(1, 7))
def test_slices_lose_nothing(content: list[tuple[str, tuple[int, str]]], most: int) -> None:
    whole = by_mark("ours", rules(content))
    owned = OwnedTable("ours")
    owned.learn(rules(content))
    sizes = []
    for part in slices(whole.values(), most):
        sizes.append(sum(len(rule_id.places) for rule_id in part))
        owned.forget(part)
    assert len(owned) == 0
    assert owned.deletion([]) == []
    assert sum(sizes) == len(content)
    assert all(size == most for size in sizes[:-1])


def test_a_spec_cut_by_two_batches_is_one_again() -> None:
    owned = OwnedTable("ours")
    content = rules([("a", (nft.NFPROTO_IPV4, "output"))] * 3)
    owned.learn(content[:2])
    owned.learn(content[2:])
    assert [handle for *_, handle in owned["netkit:a"].places] == [0, 1, 2]
