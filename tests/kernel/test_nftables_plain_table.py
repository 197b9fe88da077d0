"""The nftables backend's plain table, where what was detached stays and others put their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit.errors import NotFoundError
from tests.harness.nftables import (
    LOCAL_WEB,
    MASQUERADE,
    SIX,
    WEB,
    Counted,
    backend,
    lines,
    netfilter,
    ruleset,
    run_nft,
    sockets,
)
from tests.harness.tools import needs

__all__ = ["backend", "netfilter", "sockets"]  # the fixtures
pytestmark = [pytest.mark.capable, needs("nft")]


def test_detached_rules_outlive_the_socket(
    netfilter: Counted, backend: NftablesBackend, sockets: Callable[[], Counted]
) -> None:
    made = backend.add([LOCAL_WEB, SIX, MASQUERADE])
    netfilter.asked.clear()
    detached = backend.detach(made[:2])
    assert netfilter.asked.count("transact") == 1
    assert [rule_id.mark for rule_id in detached] == [rule_id.mark for rule_id in made[:2]]
    assert all(backend.exists(rule_id) for rule_id in detached)
    assert not any(backend.exists(rule_id) for rule_id in made[:2])
    netfilter.close()
    assert lines(ruleset()) == [
        "table ip netkit {",
        "chain output {",
        "type nat hook output priority -100; policy accept;",
        "tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80",
        "}",
        "",
        "chain prerouting {",
        "type nat hook prerouting priority dstnat; policy accept;",
        "tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80",
        "}",
        "}",
        "table ip6 netkit {",
        "chain postrouting {",
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip6 saddr fd00::/64 counter packets 0 bytes 0 snat to 2001:db8::1",
        "}",
        "}",
    ]
    later = NftablesBackend(sockets())
    assert sorted(later.detached(), key=repr) == sorted(detached, key=repr)
    later.remove(detached)
    later.remove(detached)
    assert ruleset() == ""


def test_adopted_rules_die_with_their_new_owner(
    backend: NftablesBackend, sockets: Callable[[], Counted]
) -> None:
    one, two = backend.detach(backend.add([LOCAL_WEB, SIX]))
    heir_socket = sockets()
    heir = NftablesBackend(heir_socket)
    (adopted,) = heir.adopt([one.mark])
    assert adopted.table == heir.table
    assert [rule_id.mark for rule_id in backend.detached()] == [two.mark]
    assert heir.adopt([one.mark]) == [adopted]
    with pytest.raises(NotFoundError, match=one.mark):
        backend.adopt([two.mark, one.mark])
    assert [rule_id.mark for rule_id in backend.detached()] == [two.mark]
    heir.adopt([two.mark])
    heir_socket.close()
    assert ruleset() == ""


def test_detaching_what_is_gone_changes_nothing(backend: NftablesBackend) -> None:
    web, six = backend.add([WEB, SIX])
    backend.remove([six])
    with pytest.raises(NotFoundError, match=six.mark):
        backend.detach([web, six])
    assert backend.rules() == [web]
    assert " netkit {" not in ruleset()


def test_what_others_put_into_the_plain_table_stays(backend: NftablesBackend) -> None:
    (detached,) = backend.detach(backend.add([LOCAL_WEB]))
    run_nft("add", "rule", "ip", "netkit", "output", "counter")
    backend.remove([detached])
    assert lines(ruleset()) == [
        "table ip netkit {",
        "chain output {",
        "type nat hook output priority -100; policy accept;",
        "counter packets 0 bytes 0",
        "}",
        "}",
    ]


def test_a_flushed_plain_table_is_success_for_removal(backend: NftablesBackend) -> None:
    (detached,) = backend.detach(backend.add([WEB]))
    run_nft("flush", "ruleset")
    assert not backend.exists(detached)
    backend.remove([detached])
    assert ruleset() == ""


def test_a_change_by_others_during_a_removal_is_looked_at_again(
    netfilter: Counted, backend: NftablesBackend
) -> None:
    """The table is made anew after the handles were read: they are other rules' now."""
    (detached,) = backend.detach(backend.add([WEB]))
    ((_, _, handle),) = detached.places

    def make_anew() -> None:
        run_nft("delete table ip netkit; add table ip netkit; add chain ip netkit prerouting")
        while f"counter packets 0 bytes 0 # handle {handle}\n" not in run_nft("-a", "list", "ruleset"):
            run_nft("add", "rule", "ip", "netkit", "prerouting", "counter")

    netfilter.before_change = make_anew
    backend.remove([detached])
    assert f"counter packets 0 bytes 0 # handle {handle}" in run_nft("-a", "list", "ruleset")
