"""The nf_tables codec against the kernel and nft(8)."""

from __future__ import annotations

import errno

import pytest

from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET
from netkit._netlink.nft_expressions import expression
from netkit.errors import KernelError, NotFoundError
from tests.harness.nftables import Counted, netfilter, ruleset, run_nft, sockets
from tests.harness.tools import needs

__all__ = ["netfilter", "sockets"]  # the fixtures
pytestmark = [pytest.mark.capable, needs("nft")]


def test_a_transaction_is_whole_or_nothing(netfilter: Counted) -> None:
    requests = [
        nft.new_table(NFPROTO_INET, "t"),
        nft.new_nat_chain(NFPROTO_INET, "t", "c", nft.HOOK_OUTPUT, nft.PRIORITY_DSTNAT),
        nft.delete_table(NFPROTO_INET, "another"),
    ]
    with pytest.raises(NotFoundError) as caught:
        netfilter.transact(nft.transaction(requests))
    assert caught.value.operation == "delete nft table 'inet another'"
    assert caught.value.attribute == "NFTA_TABLE_NAME"
    assert ruleset() == ""
    assert not netfilter.dump(nft.dump_rules())


def test_a_rehearsal_is_checked_and_changes_nothing(netfilter: Counted) -> None:
    requests = [nft.new_table(NFPROTO_INET, "t")]
    assert netfilter.batch(nft.rehearsal(requests)) == [None, None]
    assert ruleset() == ""
    refused = netfilter.batch(nft.rehearsal([*requests, nft.delete_chain(NFPROTO_INET, "t", "c")]))
    assert [type(outcome) for outcome in refused] == [type(None), type(None), NotFoundError]


@pytest.mark.parametrize(
    ("chain", "content", "attribute"),
    [
        ("gone", b"", "NFTA_RULE_CHAIN"),
        ("c", expression("no-such-expression"), "NFTA_RULE_EXPRESSIONS.NFTA_LIST_ELEM"),
    ],
)
def test_a_refusal_names_the_attribute(
    netfilter: Counted, chain: str, content: bytes, attribute: str
) -> None:
    requests = [
        nft.new_table(NFPROTO_INET, "t"),
        nft.new_nat_chain(NFPROTO_INET, "t", "c", nft.HOOK_OUTPUT, nft.PRIORITY_DSTNAT),
        nft.new_rule(NFPROTO_INET, "t", chain, content, b"", "add the rule"),
    ]
    with pytest.raises(KernelError) as caught:
        netfilter.transact(nft.transaction(requests))
    assert caught.value.attribute == attribute
    assert caught.value.operation == "add the rule"


def test_a_change_that_rests_on_an_old_reading_is_refused(netfilter: Counted) -> None:
    generation = nft.parse_generation(netfilter.get(nft.get_generation()))
    requests = [nft.new_table(NFPROTO_INET, "t")]
    run_nft("add", "table", "inet", "other")
    with pytest.raises(KernelError) as caught:
        netfilter.transact(nft.transaction(requests, generation))
    assert caught.value.errno == errno.ERESTART
    generation = nft.parse_generation(netfilter.get(nft.get_generation()))
    netfilter.transact(nft.transaction(requests, generation))
    assert "table inet t" in ruleset()


def test_a_name_that_is_taken_is_refused_when_exclusive(netfilter: Counted) -> None:
    run_nft("add", "table", "inet", "t")
    netfilter.transact(nft.transaction([nft.new_table(NFPROTO_INET, "t")]))
    with pytest.raises(FileExistsError, match="create nft table 'inet t'"):
        netfilter.transact(nft.transaction([nft.new_table(NFPROTO_INET, "t", exclusive=True)]))


def test_foreign_rules_are_read(netfilter: Counted) -> None:
    """Sets, verdicts and kinds of expressions that netkit does not make."""
    run_nft("add table inet t; add chain inet t c; add set inet t s { type ipv4_addr; }")
    run_nft("add rule inet t c ip saddr @s ct state established limit rate 1/second counter accept")
    (rule,) = nft.parse_rules(netfilter.dump(nft.dump_rules()))
    names = [name for name, _ in rule.parsed()]
    assert names[-1] == "immediate"
    assert {"lookup", "ct", "limit"} <= set(names)
    assert (rule.counters(), rule.comment) == ((0, 0), None)
