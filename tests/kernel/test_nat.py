"""NAT rules as `nft` and `iptables-legacy` show them, and who may remove them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkit import Namespace, NatRule, NotFoundError, Scope, StateError
from tests.harness import place
from tests.harness.oracle import iptables_legacy, nft, nft_text, run_in, succeeds
from tests.harness.tools import BACKENDS, IPTABLES, needs_iptables

backends = pytest.mark.parametrize("backend", BACKENDS)

Make = Callable[..., NatRule]

# kind, keywords, nft's line without its comment, iptables-legacy's line (or ip6tables', where v6).
RULES: list[tuple[Make, dict[str, Any], str, str, int]] = [
    (
        NatRule.masquerade, {"saddr": "172.18.0.0/24", "oif": "eth0"},
        'ip saddr 172.18.0.0/24 oifname "eth0" counter masquerade',
        "-A POSTROUTING -s 172.18.0.0/24 -o eth0 -j MASQUERADE", 4,
    ),
    (
        NatRule.masquerade, {"saddr": "!= fd00::/64", "oif": "!= br0", "proto": "udp", "to": "1024-2047"},
        'ip6 saddr != fd00::/64 oifname != "br0" meta l4proto udp counter masquerade to :1024-2047',
        "-A POSTROUTING ! -s fd00::/64 ! -o br0 -p udp -j MASQUERADE --to-ports 1024-2047", 6,
    ),
    (
        NatRule.masquerade, {"daddr": "192.0.2.7", "proto": "sctp", "dport": 9},
        "ip daddr 192.0.2.7 sctp dport 9 counter masquerade",
        "-A POSTROUTING -d 192.0.2.7/32 -p sctp -m sctp --dport 9 -j MASQUERADE", 4,
    ),
    (
        NatRule.snat, {"to": "192.0.2.1", "saddr": "10.0.0.0/8"},
        "ip saddr 10.0.0.0/8 counter snat to 192.0.2.1",
        "-A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 192.0.2.1", 4,
    ),
    (
        NatRule.snat, {"to": "[2001:db8::1]:1000-2000", "proto": "tcp", "sport": 22},
        "tcp sport 22 counter snat to [2001:db8::1]:1000-2000",
        "-A POSTROUTING -p tcp -m tcp --sport 22 -j SNAT --to-source [2001:db8::1]:1000-2000", 6,
    ),
    (
        NatRule.snat, {"to": "192.0.2.1-192.0.2.4"},
        "counter snat to 192.0.2.1-192.0.2.4",
        "-A POSTROUTING -j SNAT --to-source 192.0.2.1-192.0.2.4", 4,
    ),
    (
        NatRule.dnat, {"proto": "tcp", "dport": 80, "to": "172.18.0.2:80", "iif": "eth0"},
        'iifname "eth0" tcp dport 80 counter dnat to 172.18.0.2:80',
        "-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80", 4,
    ),
    (
        NatRule.dnat, {"proto": "sctp", "dport": "!= 80", "to": ("fd00::2", 8080)},
        "sctp dport != 80 counter dnat to [fd00::2]:8080",
        "-A PREROUTING -p sctp -m sctp ! --dport 80 -j DNAT --to-destination [fd00::2]:8080", 6,
    ),
    (
        NatRule.dnat, {"daddr": "192.0.2.9", "to": "10.0.0.2"},
        "ip daddr 192.0.2.9 counter dnat to 10.0.0.2",
        "-A PREROUTING -d 192.0.2.9/32 -j DNAT --to-destination 10.0.0.2", 4,
    ),
    (
        NatRule.redirect, {"proto": "tcp", "dport": 80, "to": 3128, "family": 4},
        "tcp dport 80 counter redirect to :3128",
        "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128", 4,
    ),
    (
        NatRule.redirect, {"proto": "udp", "dport": "53-54", "saddr": "fd00::/64", "to": "5353"},
        "ip6 saddr fd00::/64 udp dport 53-54 counter redirect to :5353",
        "-A PREROUTING -s fd00::/64 -p udp -m udp --dport 53:54 -j REDIRECT --to-ports 5353", 6,
    ),
]  # fmt: skip
IDS = [f"{make.__name__} {' '.join(map(str, words.values()))}" for make, words, *_ in RULES]


def lines(ns: Namespace) -> list[str]:
    """The rules of `nft list ruleset` without their comments."""
    found = [line.strip() for line in nft_text(ns).splitlines() if "counter" in line]
    return [line.partition(" comment ")[0] for line in found]


def legacy(ns: Namespace, family: int = 4) -> list[str]:
    """The rules of `iptables-legacy -t nat -S`, without the policies."""
    return [line for line in iptables_legacy(ns, family=family) if line.startswith("-A")]


def iptables(ns: Namespace, words: str) -> None:
    run_in(ns, "iptables-legacy", "-w", "-t", "nat", *words.split())


def anything(ns: Namespace) -> list[object]:
    """All there is of NAT, by all tools."""
    tools = [nft(ns)]
    return [*tools, legacy(ns), legacy(ns, 6)] if IPTABLES else tools


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace() as ns:
        empty = anything(ns)
        yield ns
        if ns.exists:
            assert anything(ns) == empty, "a rule was left"


# -- the rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "keywords", "said", "legacy_said", "family"), RULES, ids=IDS)
def test_nft_shows_the_rule(
    host: Namespace, make: Make, keywords: dict[str, Any], said: str, legacy_said: str, family: int
) -> None:
    with make(host, **keywords) as rule:
        assert lines(host) == [said]
        assert rule.backend == "nftables"
        assert rule.exists
        assert rule.counters == (0, 0)
    assert nft(host) == []


@needs_iptables
@pytest.mark.parametrize(("make", "keywords", "said", "legacy_said", "family"), RULES, ids=IDS)
def test_iptables_legacy_shows_the_rule(
    host: Namespace, make: Make, keywords: dict[str, Any], said: str, legacy_said: str, family: int
) -> None:
    with make(host, **keywords, backend="iptables") as rule:
        assert legacy(host, family) == [legacy_said]
        assert legacy(host, 10 - family) == []
        assert nft(host) == []
        assert rule.exists
        assert rule.counters == (0, 0)
    assert legacy(host, family) == []


def test_chains_and_the_owner(host: Namespace) -> None:
    """Prerouting at dstnat, postrouting at srcnat, and a table that is ours alone."""
    with (
        NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2", local=True),
        NatRule.masquerade(host, oif="eth0"),
    ):
        chains = {item["chain"]["name"]: item["chain"] for item in nft(host) if "chain" in item}
        hooks = {name: (chain["type"], chain["hook"], chain["prio"]) for name, chain in chains.items()}
        assert hooks == {
            "prerouting": ("nat", "prerouting", -100),
            "output": ("nat", "output", -100),
            "postrouting": ("nat", "postrouting", 100),
        }
        assert {chain["policy"] for chain in chains.values()} == {"accept"}
        assert "flags owner" in nft_text(host)
        tables = [item["table"] for item in nft(host) if "table" in item]
        # Begun for IPv4 alone; the rule of both families has one in each.
        assert [table["family"] for table in tables] == ["ip", "ip6"]
        assert all(table["name"].startswith("netkit-") for table in tables)
        assert lines(host).count('oifname "eth0" counter masquerade') == 2


def test_a_rule_of_both_families_is_one_rule(host: Namespace) -> None:
    with NatRule.masquerade(host, oif="eth0"), NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2"):
        assert [item["table"]["family"] for item in nft(host) if "table" in item] == ["inet"]
        assert 'oifname "eth0" counter masquerade' in lines(host)
        assert "tcp dport 80 counter dnat ip to 10.0.0.2" in lines(host)


def test_F61_others_cannot_touch_our_table(host: Namespace) -> None:
    with NatRule.masquerade(host, oif="eth0") as rule:
        before = nft_text(host)
        run_in(host, "nft", "flush", "ruleset")
        (table,) = [item["table"]["name"] for item in nft(host) if "table" in item]
        assert not succeeds(host, "nft", "delete", "table", "inet", table)
        assert not succeeds(host, "nft", "flush", "chain", "inet", table, "postrouting")
        assert nft_text(host) == before
        assert rule.exists


def test_our_rules_die_with_the_process(host: Namespace) -> None:
    program = (
        "import sys\n"
        "from netkit import Namespace, NatRule\n"
        "host = Namespace.from_fd(int(sys.argv[1]))\n"
        "NatRule.masquerade(host, oif='eth0').create()\n"
        "print('made', flush=True)\n"
        "sys.stdin.read()\n"
    )
    fd = host.fileno()
    with subprocess.Popen(
        place.there(sys.executable, "-c", program, str(fd)), pass_fds=[fd], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert lines(host) == ['oifname "eth0" counter masquerade']
        os.kill(place.main_of(process.pid), signal.SIGKILL)
        process.wait()
    assert nft(host) == []


@needs_iptables
def test_F59_both_backends_side_by_side(host: Namespace) -> None:
    with (
        NatRule.masquerade(host, oif="eth0") as one,
        NatRule.masquerade(host, oif="eth0", backend="iptables") as other,
    ):
        assert lines(host) == ['oifname "eth0" counter masquerade']
        assert legacy(host) == ["-A POSTROUTING -o eth0 -j MASQUERADE"]
        assert (one.backend, other.backend) == ("nftables", "iptables")
        assert "(nftables)" in repr(one)
        assert "(iptables)" in repr(other)


@needs_iptables
def test_a_rule_of_no_family_is_for_both_with_iptables_too(host: Namespace) -> None:
    with NatRule.masquerade(host, oif="eth0", backend="iptables") as rule:
        six = run_in(host, "ip6tables-legacy", "-w", "-t", "nat", "-S", "POSTROUTING").splitlines()
        assert six[1:] == legacy(host) == ["-A POSTROUTING -o eth0 -j MASQUERADE"]
        assert rule.exists
        assert rule.counters.packets == 0
        run_in(host, "ip6tables-legacy", "-w", "-t", "nat", "-F")
        assert not rule.exists
    six = run_in(host, "ip6tables-legacy", "-w", "-t", "nat", "-S", "POSTROUTING").splitlines()
    assert (six[1:], legacy(host)) == ([], [])


def test_F59_the_backend_is_asked_for_or_found(host: Namespace) -> None:
    rule = NatRule.masquerade(host, oif="eth0")
    assert rule.backend is None
    assert "backend by probing" in repr(rule)
    with rule:
        assert rule.backend == "nftables"
    assert NatRule.masquerade(host, oif="eth0", backend="nftables").backend == "nftables"


def test_spec_is_the_rule_in_nfts_words(host: Namespace) -> None:
    rule = NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80")
    assert str(rule.spec) == "tcp dport 80 dnat to 172.18.0.2:80"
    assert rule.spec == NatRule.dnat(host, proto=6, dport="80", to=("172.18.0.2", 80)).spec


@backends
def test_foreign_rules_stay_as_they_are(host: Namespace, backend: Any) -> None:
    if backend == "nftables":
        run_in(host, "nft", "add", "table", "ip", "nat")
        run_in(host, "nft", "add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }")
        run_in(host, "nft", "add", "rule", "ip", "nat", "POSTROUTING", "oifname", "docker0", "masquerade")
    else:
        for words in ("-N DOCKER", "-A POSTROUTING -j DOCKER", "-A DOCKER -o docker0 -j MASQUERADE"):
            iptables(host, words)
    before = anything(host)
    with NatRule.masquerade(host, oif="eth0", backend=backend):
        assert anything(host) != before
    assert anything(host) == before
    if backend == "nftables":
        run_in(host, "nft", "flush", "ruleset")
    else:
        iptables(host, "-F")
        iptables(host, "-X")


@backends
def test_many_rules_go_in_any_order(host: Namespace, backend: Any) -> None:
    rules = [
        NatRule.dnat(host, proto="tcp", dport=port, to=f"10.0.0.2:{port}", backend=backend).create()
        for port in range(1, 9)
    ]
    for rule in rules[::2] + rules[1::2][::-1]:
        assert rule.exists
        rule.delete()
        assert not rule.exists


@backends
def test_two_equal_rules_are_two(host: Namespace, backend: Any) -> None:
    with NatRule.masquerade(host, oif="eth0", backend=backend):
        with NatRule.masquerade(host, oif="eth0", backend=backend):
            assert len(lines(host) or legacy(host)) == 2
        assert len(lines(host) or legacy(host)) == 1


@backends
def test_in_a_scope(host: Namespace, backend: Any) -> None:
    with Scope() as lab:
        lab.own(NatRule.masquerade(host, oif="eth0", backend=backend))
        lab.own(NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2:80", backend=backend))
        assert len(lines(host) or legacy(host)) == 2


@backends
def test_a_namespace_that_goes_with_its_rules(backend: Any) -> None:
    with Namespace() as ns:
        rule = NatRule.masquerade(ns, oif="eth0", backend=backend).create()
    assert not rule.exists
    rule.delete()  # gone already is success


# -- create, delete, create ---------------------------------------------------------------------------


@backends
def test_create_delete_create(host: Namespace, backend: Any) -> None:
    rule = NatRule.masquerade(host, oif="eth0", backend=backend)
    assert not rule.exists
    assert rule.create() is rule
    with pytest.raises(StateError, match="created already"):
        rule.create()
    rule.delete()
    with pytest.raises(StateError, match="deleted"):
        rule.delete()
    with pytest.raises(StateError):
        _ = rule.counters
    with rule:
        assert rule.exists


# -- detach and adopt -----------------------------------------------------------------------------------


def test_detached_rules_are_in_the_plain_table(host: Namespace) -> None:
    with NatRule.masquerade(host, oif="eth0") as rule, NatRule.masquerade(host, oif="eth1"):
        assert rule.detach() is rule
        names = {item["table"]["name"] for item in nft(host) if "table" in item}
        assert len(names) == 2
        assert "netkit" in names
        assert rule.counters == (0, 0)
    (table,) = [item["table"]["name"] for item in nft(host) if "table" in item]
    assert table == "netkit"
    assert lines(host) == ['oifname "eth0" counter masquerade']
    assert "flags owner" not in nft_text(host)
    with pytest.raises(StateError, match="borrowed"):
        rule.delete()
    rule.adopt()
    assert "flags owner" in nft_text(host)
    rule.delete()
    assert nft(host) == []


@needs_iptables
def test_detached_iptables_rules_stay(host: Namespace) -> None:
    with NatRule.masquerade(host, oif="eth0", backend="iptables") as rule:
        rule.detach()
    assert legacy(host) == ["-A POSTROUTING -o eth0 -j MASQUERADE"]
    rule.adopt().delete()
    assert legacy(host) == []


def test_detached_rules_outlive_the_process(host: Namespace) -> None:
    program = (
        "import sys\n"
        "from netkit import Namespace, NatRule\n"
        "host = Namespace.from_fd(int(sys.argv[1]))\n"
        "NatRule.masquerade(host, oif='eth0').create().detach()\n"
    )
    fd = host.fileno()
    subprocess.run(
        place.there(sys.executable, "-c", program, str(fd)),
        pass_fds=[fd],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert lines(host) == ['oifname "eth0" counter masquerade']
    with NatRule.masquerade(host, oif="eth1"):  # the table is shared, but theirs stays
        pass
    assert lines(host) == ['oifname "eth0" counter masquerade']
    run_in(host, "nft", "delete", "table", "inet", "netkit")


def test_the_plain_table_goes_with_its_last_rule_only(host: Namespace) -> None:
    one = NatRule.masquerade(host, oif="eth0").create().detach()
    other = NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2").create().detach()
    run_in(host, "nft", "add", "rule", "inet", "netkit", "postrouting", "counter", "accept")  # a stranger's
    one.adopt().delete()
    other.adopt().delete()
    assert lines(host) == ["counter accept"]
    run_in(host, "nft", "delete", "table", "inet", "netkit")


# -- removed by others -------------------------------------------------------------------------------------


def delete_by_nft(host: Namespace) -> None:
    (rule,) = [item["rule"] for item in nft(host) if "rule" in item]
    run_in(
        host, "nft", "delete", "rule", "inet", rule["table"], rule["chain"], "handle", str(rule["handle"])
    )  # fmt: skip


def test_a_detached_rule_deleted_by_nft(host: Namespace) -> None:
    rule = NatRule.masquerade(host, oif="eth0").create().detach()
    delete_by_nft(host)
    assert not rule.exists
    with pytest.raises(NotFoundError):
        _ = rule.counters
    with pytest.raises(NotFoundError):
        rule.adopt()
    run_in(host, "nft", "delete", "table", "inet", "netkit")


@contextmanager
def removed(host: Namespace, rule: NatRule) -> Iterator[None]:
    """Somebody removes the rule: with nft by closing its owner's socket, for nobody else may."""
    if rule.backend == "iptables":
        iptables(host, "-F POSTROUTING")
    else:
        rule._backend.remove(rule._token)  # type: ignore[union-attr]
    yield


@backends
def test_gone_already_is_success(host: Namespace, backend: Any) -> None:
    rule = NatRule.masquerade(host, oif="eth0", backend=backend)
    with rule, removed(host, rule):
        assert not rule.exists
        with pytest.raises(NotFoundError):
            _ = rule.counters
    rule.create()
    with removed(host, rule):
        rule.delete()


def test_a_rule_deleted_by_nft_in_the_plain_table_after_adopting_from_it(host: Namespace) -> None:
    """Between detach and delete anybody may: what is gone is gone, and the others go too."""
    one = NatRule.masquerade(host, oif="eth0").create().detach()
    two = NatRule.masquerade(host, oif="eth1").create()
    delete_by_nft_in_plain(host)
    two.delete()
    assert not one.exists
    run_in(host, "nft", "delete", "table", "inet", "netkit")


def delete_by_nft_in_plain(host: Namespace) -> None:
    (rule,) = [item["rule"] for item in nft(host) if "rule" in item and item["rule"]["table"] == "netkit"]
    run_in(host, "nft", "delete", "rule", "inet", "netkit", rule["chain"], "handle", str(rule["handle"]))


@needs_iptables
def test_F61_a_foreign_flush_of_iptables(host: Namespace) -> None:
    rules = [NatRule.masquerade(host, oif=f"eth{number}", backend="iptables").create() for number in range(3)]
    iptables(host, "-F")
    iptables(host, "-A POSTROUTING -o theirs -j MASQUERADE")
    for rule in rules:
        assert not rule.exists
        rule.delete()
    assert legacy(host) == ["-A POSTROUTING -o theirs -j MASQUERADE"]
    iptables(host, "-F")
