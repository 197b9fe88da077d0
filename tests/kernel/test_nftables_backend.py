"""The backend on nf_tables, against the kernel and nft(8): an owner table, and what is in it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit._netlink.nft import NFPROTO_INET
from netkit._netlink.nft_expressions import expression
from netkit._spec.nat import NatSpec, dnat, redirect
from netkit.errors import KernelError, NotFoundError, StateError
from tests.harness.nftables import (
    LOCAL_WEB,
    MASQUERADE,
    SIX,
    WEB,
    Counted,
    backend,
    lines,
    netfilter,
    progname,
    ruleset,
    run_nft,
    sockets,
)
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["backend", "netfilter", "sockets"]  # the fixtures
pytestmark = [pytest.mark.capable, needs("nft")]


def test_one_round_trip_makes_table_chains_and_rules(netfilter: Counted, backend: NftablesBackend) -> None:
    backend.add([MASQUERADE, LOCAL_WEB])
    assert netfilter.asked == ["transact"]
    assert backend.table.startswith("netkit-")
    assert lines(ruleset()) == [
        f"table ip {backend.table} {{ # progname {progname()}",
        "flags owner",
        "",
        "chain output {",
        "type nat hook output priority -100; policy accept;",
        "tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80",
        "}",
        "",
        "chain postrouting {",
        "type nat hook postrouting priority srcnat; policy accept;",
        'ip saddr 172.18.0.0/24 oifname "enp1s0" counter packets 0 bytes 0 masquerade',
        "}",
        "",
        "chain prerouting {",
        "type nat hook prerouting priority dstnat; policy accept;",
        "tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80",
        "}",
        "}",
    ]


def test_chains_are_made_when_needed_and_go_with_their_last_rule(backend: NftablesBackend) -> None:
    (web,) = backend.add([WEB])
    assert "output" not in ruleset()
    local, six = backend.add([LOCAL_WEB, SIX])
    assert ruleset().count("chain ") == 3
    backend.remove([local])
    assert "output" not in ruleset()
    assert ruleset().count("dnat to") == 1
    backend.remove([six, web])
    assert ruleset() == ""


def test_a_rule_id_finds_its_rules(backend: NftablesBackend) -> None:
    made = backend.add([MASQUERADE, LOCAL_WEB, dnat(proto="udp", dport="7-9", to="172.18.0.2:17-19")])
    assert [len(rule_id.places) for rule_id in made] == [1, 2, 3]
    assert sorted(backend.rules(), key=repr) == sorted(made, key=repr)
    for rule_id in made:
        assert backend.exists(rule_id)
        assert f'comment "{rule_id.mark}"' in ruleset()
    backend.remove(made[:1])
    assert not backend.exists(made[0])
    with pytest.raises(NotFoundError, match="read nft rule"):
        backend.counters(made[0])


def test_a_handle_that_is_another_rules_now_is_not_found(backend: NftablesBackend) -> None:
    """The table goes with its last rule, and the handles of its successor begin again."""
    (first,) = backend.add([WEB])
    backend.remove([first])
    (second,) = backend.add([WEB])
    assert first.places == second.places
    assert not backend.exists(first)
    backend.remove([first])
    assert backend.exists(second)


def test_removing_twice_is_success(backend: NftablesBackend) -> None:
    made = backend.add([WEB, SIX])
    backend.remove(made)
    backend.remove(made)
    assert backend.add([]) == []
    assert ruleset() == ""


def test_counters_count_the_first_packet_of_a_connection(backend: NftablesBackend) -> None:
    rule_id, other = backend.add([redirect(proto="udp", dport=9, to=10, local=True), SIX])
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 10))
        receiver.settimeout(LONG)
        for _ in range(3):
            sender.sendto(b"12345678", ("127.0.0.1", 9))
            assert receiver.recv(100) == b"12345678"
    assert backend.counters(rule_id) == (1, 20 + 8 + 8)
    assert backend.counters(other) == (0, 0)
    # And they move along.
    (detached,) = backend.detach([rule_id])
    assert backend.counters(detached) == (1, 36)
    (adopted,) = backend.adopt([detached.mark])
    assert backend.counters(adopted) == (1, 36)


def test_others_can_neither_change_nor_flush_the_table(
    backend: NftablesBackend, sockets: Callable[[], Counted]
) -> None:
    (rule_id,) = backend.add([WEB])
    run_nft("flush", "ruleset")
    assert backend.exists(rule_id)
    stranger = NftablesBackend(sockets(), backend.table)
    with pytest.raises(KernelError, match="Operation not permitted") as caught:
        stranger.add([MASQUERADE])
    # Not a missing capability: AccessError would say to become root.
    assert type(caught.value) is KernelError
    assert caught.value.netns == "the test's namespace"
    assert ruleset().count("nat to") == 1


def test_the_table_goes_with_its_socket(netfilter: Counted, backend: NftablesBackend) -> None:
    backend.add([WEB, SIX, MASQUERADE])
    netfilter.close()
    assert ruleset() == ""
    with pytest.raises(StateError):
        backend.add([WEB])


def test_a_refused_spec_leaves_nothing_of_the_others(
    netfilter: Counted, backend: NftablesBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept,) = backend.add([WEB])

    def compiled(spec: NatSpec, families: tuple[int, ...]) -> list[tuple[int, str, bytes]]:
        content = b"" if spec is WEB else expression("no-such-expression")
        return [(NFPROTO_INET, "output", content)]

    monkeypatch.setattr("netkit._nat.nftables.compiled", compiled)
    with pytest.raises(NotFoundError, match="add NAT rule 'ip6 saddr"):
        backend.add([WEB, SIX])
    assert backend.rules() == [kept]
    assert "output" not in ruleset()


@pytest.mark.parametrize("count", [129, 700])
def test_many_rules_whose_echoes_would_not_fit(backend: NftablesBackend, count: int) -> None:
    (first,) = backend.add([SIX])
    specs = [dnat(proto="tcp", dport=port, to=("172.18.0.2", port)) for port in range(1, count + 1)]
    made = backend.add(specs)
    assert len({rule_id.places for rule_id in made}) == count
    assert run_nft("list", "table", "ip", backend.table).count("dnat to") == count
    detached = backend.detach(made)
    assert {rule_id.mark for rule_id in detached} == {rule_id.mark for rule_id in backend.detached()}
    assert backend.rules() == [first]
    adopted = backend.adopt([rule_id.mark for rule_id in made])
    assert len(backend.rules()) == count + 1
    backend.remove(adopted)
    assert backend.rules() == [first]
    backend.remove([first])
    assert ruleset() == ""


def test_many_rules_of_one_spec(backend: NftablesBackend) -> None:
    (made,) = backend.add([dnat(proto="tcp", dport="1000-1599", to="172.18.0.2:3000-3599", local=True)])
    assert len(made.places) == 1200
    (detached,) = backend.detach([made])
    assert len(detached.places) == 1200
    (adopted,) = backend.adopt([made.mark])
    assert len(adopted.places) == 1200
    backend.remove([adopted])
    assert ruleset() == ""
