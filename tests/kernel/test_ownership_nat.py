"""NAT rules of both backends, detached and adopted, also between processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from netkit import Namespace, NatRule, NotFoundError, Scope, StateError
from netkit._nat.backend import Iptables
from tests.harness.oracle import iptables_legacy, nft, nft_text, run_in
from tests.harness.ownership import elsewhere, living
from tests.harness.tools import IPTABLES, needs_iptables
from tests.kernel.test_nat import RULES


@pytest.mark.parametrize(("make", "keywords", "text", "legacy", "family"), RULES)
def test_every_kind_of_rule_is_found_by_what_it_says(
    make: Any, keywords: dict[str, Any], text: str, legacy: str, family: int, host: Namespace
) -> None:
    others = [
        NatRule.masquerade(host, oif="other"),
        NatRule.dnat(host, proto="tcp", dport=1, to="10.9.9.9:9"),
    ]
    for each in others:
        each.create().detach()
    make(host, **keywords, backend="nftables").create().detach()
    rule = make(host, **keywords)
    rule.adopt()
    assert len([item for item in nft(host) if "rule" in item and item["rule"]["table"] == "netkit"]) == 2
    with pytest.raises(NotFoundError, match="detached"):
        make(host, **keywords).adopt()
    rule.delete()
    for each in others:
        each.adopt().delete()
    assert nft(host) == []


def test_a_range_of_ports_is_one_rule(host: Namespace) -> None:
    """Many rules of the kernel, one of ours."""
    words = "NatRule.dnat(host, proto='tcp', dport='9000-9002', to='10.0.0.2:100-102', local=True)"
    elsewhere(f"{words}.create().detach()", host)
    assert nft_text(host).count("dnat") == 6
    with pytest.raises(NotFoundError):
        NatRule.dnat(host, proto="tcp", dport="9000-9002", to="10.0.0.2:100-102").adopt()  # not local
    NatRule.dnat(host, proto="tcp", dport="9000-9002", to="10.0.0.2:100-102", local=True).adopt().delete()
    assert nft(host) == []


def test_of_equal_rules_each_is_adopted_once(host: Namespace) -> None:
    elsewhere("for _ in range(3): NatRule.masquerade(host, oif='eth0').create().detach()", host)
    with Scope() as lab:
        for _ in range(3):
            lab.own(NatRule.masquerade(host, oif="eth0").adopt())
        with pytest.raises(NotFoundError):
            NatRule.masquerade(host, oif="eth0").adopt()
    assert nft(host) == []


def test_counters_move_along(host: Namespace) -> None:
    rule = NatRule.masquerade(host, oif="eth0").create().detach()
    other = NatRule.masquerade(host, oif="eth0")
    assert other.adopt().counters == (0, 0)
    assert not rule.exists
    other.delete()


def test_a_rule_of_nft_is_no_rule_of_ours(host: Namespace) -> None:
    """Somebody's own rule in our plain table says the same: it has no mark of netkit's."""
    NatRule.masquerade(host, oif="eth1").create().detach()
    run_in(
        host,
        "nft",
        "add",
        "rule",
        "inet",
        "netkit",
        "postrouting",
        "oifname",
        "eth0",
        "counter",
        "masquerade",
    )
    with pytest.raises(NotFoundError):
        NatRule.masquerade(host, oif="eth0").adopt()
    run_in(host, "nft", "delete", "table", "inet", "netkit")


@needs_iptables
def test_a_rule_of_iptables(host: Namespace) -> None:
    code = "NatRule.masquerade(host, oif='eth0', backend='iptables').create().detach()"
    elsewhere(code, host)
    with pytest.raises(NotFoundError):  # without a backend it would have been nftables
        NatRule.masquerade(host, oif="eth0").adopt()
    with NatRule.masquerade(host, oif="eth0", backend="iptables").adopt() as rule:
        assert rule.exists
    assert not [line for line in iptables_legacy(host) if line.startswith("-A")]
    with pytest.raises(NotFoundError):
        NatRule.masquerade(host, oif="eth0", backend="iptables").adopt()
    assert IPTABLES


def rules_of(ns: Namespace) -> list[str]:
    return [line for line in iptables_legacy(ns) if line.startswith("-A")]


LEGACY = "NatRule.dnat(host, proto='tcp', dport=80, to='10.0.0.2:8080', local=True, backend='iptables')"


def legacy(host: Namespace) -> NatRule:
    return NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2:8080", local=True, backend="iptables")


@needs_iptables
def test_a_rule_of_iptables_that_a_living_process_owns_is_not_adopted(host: Namespace) -> None:
    with living(f"lab.own({LEGACY})", host) as pid:
        before = rules_of(host)
        found = legacy(host)
        for _ in range(2):
            with pytest.raises(StateError, match=f"is owned by process {pid}(,| .*,) which has to detach"):
                found.adopt()
        assert not found.exists
        assert f"process {pid}" in elsewhere(TRY, host)
        assert rules_of(host) == before
        with found.create():  # nothing has happened to it
            assert len(rules_of(host)) == 4
    assert rules_of(host) == []


TRY = f"""
try:
    {LEGACY}.adopt()
except StateError as refusal:
    print(refusal)
"""


@needs_iptables
def test_what_was_detached_and_is_another_process_s_now_is_not_adopted_again(host: Namespace) -> None:
    rule = legacy(host).create().detach()
    with living(f"lab.own({LEGACY}.adopt())", host) as pid:
        with pytest.raises(StateError, match=f"process {pid}"):
            rule.adopt()
        assert rule.exists
    assert rules_of(host) == []


@needs_iptables
def test_of_equal_rules_of_iptables_the_one_that_nobody_owns_is_adopted(host: Namespace) -> None:
    with living(f"{LEGACY}.create().detach(); lab.own({LEGACY})", host) as pid:
        assert len(rules_of(host)) == 4
        with legacy(host).adopt(), pytest.raises(StateError, match=r"by process|in this program"):
            legacy(host).adopt()
        assert len(rules_of(host)) == 2
        run_in(host, *f"iptables-legacy -w -t nat {rules_of(host)[0]}".split())  # of one of the two
        with pytest.raises(StateError, match=f"process {pid}"):
            legacy(host).adopt()
        run_in(host, *f"iptables-legacy -w -t nat -D{rules_of(host)[0][2:]}".split())
        with pytest.raises(StateError, match=f"process {pid}"):
            legacy(host).adopt()
    assert rules_of(host) == []


@needs_iptables
def test_of_two_processes_that_adopt_a_rule_of_iptables_at_once_one_gets_it(
    host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked, and nobody had it then."""
    legacy(host).create().detach()
    adopt, others = Iptables.adopt, ExitStack()

    def overtaken(self: Iptables, token: Any) -> Any:
        pids.append(others.enter_context(living(f"lab.own({LEGACY}.adopt())", host)))
        return adopt(self, token)

    pids: list[int] = []
    with others, monkeypatch.context() as patch:
        patch.setattr(Iptables, "adopt", overtaken)
        found = legacy(host)
        with pytest.raises(StateError, match="is owned by process") as caught:
            found.adopt()
        assert f"process {pids[0]}" in str(caught.value)
        assert not found.exists
        assert len(rules_of(host)) == 2
    assert rules_of(host) == []


def proxied(host: Namespace) -> NatRule:
    return NatRule.tproxy(host, dport=80, to=3128, backend="iptables")


@needs_iptables
@pytest.mark.parametrize("make", [legacy, proxied])
def test_of_two_objects_for_a_rule_of_iptables_one_owns(
    make: Callable[[Namespace], NatRule], host: Namespace
) -> None:
    with make(host) as owner:
        found = make(host)
        with pytest.raises(StateError, match="is owned in this program, as") as caught:
            found.adopt()
        assert repr(owner) in str(caught.value)
        assert "(new)" in repr(found)
        owner.detach()
    with found.adopt():
        assert found.exists
    assert rules_of(host) == []
