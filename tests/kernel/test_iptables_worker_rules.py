"""Rules by the iptables worker, against iptables-legacy: added, taken back, listed, counted, refused."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_rules import command_text, rule_text, rules_for
from netkit._spec.nat import dnat, masquerade, redirect, snat
from netkit.errors import KernelError, NotFoundError
from tests.harness.iptables_worker import DNAT, MARKS, MASQUERADE, Net, make_net, net

if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule

__all__ = ["make_net", "net"]  # the fixtures

pytestmark = MARKS

SPECS = {
    4: [
        masquerade(saddr="172.18.0.0/24", oif="enp1s0"),
        masquerade(),
        masquerade(saddr="10.0.0.1", oif="!= br0", proto="udp", to="1024-2048"),
        masquerade(saddr="!= 10.0.0.0/20", daddr="!= 224.0.0.0/4"),
        masquerade(proto="icmp"),
        masquerade(proto="!= tcp"),
        masquerade(proto=112, oif="abcdefghijklmno"),
        snat(saddr="10.0.0.0/8", to="192.0.2.1"),
        snat(saddr="10.0.0.0/8", proto="tcp", to="192.0.2.1-192.0.2.4:1000-2000"),
        dnat(proto="tcp", dport=80, to="172.18.0.2:80"),
        dnat(proto="udp", sport="!= 53", dport="8000-8010", iif="eth0", to="172.18.0.2"),
        dnat(proto="tcp", dport="9000-9002", to="172.18.0.2:100-102"),
        dnat(proto="sctp", dport="!= 80", sport="1000-2000", to="172.18.0.2:81"),
        dnat(proto="sctp", dport=80, to="172.18.0.2:81"),
        dnat(daddr="192.0.2.7", to="172.18.0.2", local=True),
        redirect(proto="tcp", dport=80, to=8080),
        redirect(proto="udp", iif="!= lo", dport=53, to="5300-5310"),
        redirect(proto="tcp"),
    ],
    6: [
        masquerade(saddr="fd00:1::/64", oif="enp1s0"),
        masquerade(oif="eth0", family=6),
        masquerade(proto="!= tcp", family=6),
        masquerade(proto="icmpv6"),
        masquerade(saddr="!= fc00::/7", proto="tcp", to="1024-2048"),
        snat(saddr="fd00::/44", to="2001:db8::1"),
        snat(proto="udp", saddr="fd00::/8", to="[2001:db8::1]-[2001:db8::9]:10-20"),
        dnat(proto="tcp", dport=80, to="[fd00::2]:80"),
        dnat(proto="tcp", dport="9000-9002", iif="!= lo", to="[fd00::2]:100-102"),
        dnat(daddr="2001:db8::7", to="fd00::2", local=True),
        redirect(proto="sctp", dport=80, to=8080, family=6),
    ],
}


@pytest.mark.parametrize("family", [4, 6])
def test_rules_are_what_a_person_would_have_typed(make_net: Callable[[], Net], family: int) -> None:
    ours, typed = make_net(), make_net()
    rules = [rule for spec in SPECS[family] for rule in rules_for(spec, [family])]
    assert ours.worker.transaction(add=rules) == []
    for rule in rules:
        typed.run(*command_text(rule).replace("legacy -t", "legacy -w -t").split())
    shown = typed.shown(family)
    assert ours.shown(family) == shown
    assert ours.worker.list(family) == shown
    assert sorted(rule_text(rule) for rule in rules) == sorted(shown)
    # Byte for byte the same rules: each side finds and deletes the other's.
    assert all(typed.worker.exists(rule) for rule in rules)
    assert typed.worker.transaction(remove=rules) == []
    assert typed.shown(family) == []
    for rule in rules:
        ours.run(*command_text(rule).replace("legacy -t", "legacy -w -t").replace(" -A ", " -D ").split())
    assert ours.shown(family) == []


def test_the_two_rules_of_the_readme(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE, DNAT])
    assert net.shown() == [
        "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80",
        "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE",
    ]


def test_both_families_in_one_transaction(net: Net) -> None:
    six = rules_for(masquerade(oif="eth0", family=6))[0]
    net.worker.transaction(add=[MASQUERADE, six])
    assert net.shown(4) == [rule_text(MASQUERADE)]
    assert net.shown(6) == [rule_text(six)]


def test_insert_goes_first(net: Net) -> None:
    net.iptables("-t nat -A POSTROUTING -o other -j MASQUERADE")
    first: Rule = {**MASQUERADE, "position": "insert"}
    net.worker.transaction(add=[first])
    assert net.shown()[0] == rule_text(first)
    assert command_text(first).startswith("iptables-legacy -t nat -I POSTROUTING -s")


def test_F54_refused_rule_is_an_error_and_changes_nothing(net: Net) -> None:
    wrong: Rule = {**MASQUERADE, "table": "filter", "chain": "FORWARD"}
    with pytest.raises(KernelError) as caught:
        net.worker.transaction(add=[MASQUERADE, wrong])
    assert caught.value.errno == errno.EINVAL
    assert "-A FORWARD" in str(caught.value) or "1 more" in str(caught.value)
    assert "libiptc says: can't commit: Invalid argument" in str(caught.value)
    assert net.shown() == []  # table nat had been committed: taken back
    assert "MASQUERADE" not in net.iptables("-S")


def test_rollback_puts_removed_rules_back_in_their_place(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.iptables("-t nat -A POSTROUTING -o last -j MASQUERADE")
    before = net.shown()
    wrong: Rule = {**MASQUERADE, "table": "filter", "chain": "FORWARD"}
    with pytest.raises(KernelError):
        net.worker.transaction(remove=[MASQUERADE], add=[DNAT, wrong])
    assert net.shown() == before


def test_unknown_chain_and_bad_rule(net: Net) -> None:
    with pytest.raises(NotFoundError, match="No chain/target/match by that name"):
        net.worker.transaction(add=[{**MASQUERADE, "chain": "NOWHERE"}])
    with pytest.raises(KernelError, match="not an IPv4 network") as caught:
        net.worker.transaction(add=[{**MASQUERADE, "src": "fd00::/64"}])
    assert caught.value.errno == errno.EINVAL
    assert net.worker.list() == []


def test_removing_what_is_gone_is_reported(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE, DNAT])
    net.iptables("-t nat -F PREROUTING")
    assert net.worker.transaction(remove=[DNAT, MASQUERADE]) == [DNAT]
    assert net.worker.transaction(remove=[DNAT]) == [DNAT]
    assert net.shown() == []


def test_of_equal_rules_one_is_removed_the_last(net: Net) -> None:
    for words in ("-s 172.18.0.0/24 -o enp1s0 -j MASQUERADE", "-o between -j MASQUERADE"):
        net.iptables(f"-t nat -A POSTROUTING {words}")
    net.worker.transaction(add=[MASQUERADE])
    assert net.shown()[0] == net.shown()[2]
    net.worker.transaction(remove=[MASQUERADE])
    assert net.shown() == [rule_text(MASQUERADE), "-A POSTROUTING -o between -j MASQUERADE"]


FOREIGN = [
    "-t nat -N MINE",
    "-t nat -A MINE -j RETURN",
    "-t nat -A PREROUTING -j MINE",
    "-t nat -A PREROUTING -s 10.0.0.0/8 -g MINE",
    "-t nat -A PREROUTING -p tcp -m tcp --dport 1:2 -m comment --comment x -j ACCEPT",
    "-t nat -A PREROUTING -p tcp -m tcp --tcp-flags SYN,ACK SYN -j DNAT --to-destination 1.2.3.4 --random",
    "-t nat -A PREROUTING -m conntrack --ctstate NEW -m addrtype --dst-type LOCAL -j LOG",
    "-t nat -A PREROUTING -p udp -m multiport ! --dports 1,2,3 -j REDIRECT --to-ports 7 --random",
    "-t nat -A PREROUTING -s 10.0.1.0/255.0.255.0",
    "-t nat -A POSTROUTING ! -s 10.0.0.0/8 -o eth+ -j MASQUERADE --random",
    "-t nat -A POSTROUTING -m mark --mark 0x5/0xff -j SNAT --to-source 1.2.3.4 --persistent",
]


def test_list_shows_rules_of_others(net: Net) -> None:
    loaded = []
    for words in FOREIGN:
        try:
            net.iptables(words)
        except AssertionError:
            if "-m " not in words:  # else an extension that this kernel was built without
                raise
        else:
            loaded.append(words)
    assert len(loaded) >= 7
    net.worker.transaction(add=[MASQUERADE, DNAT])
    assert net.worker.list() == net.shown()
    net.iptables("-t nat -A PREROUTING -p tcp -m tcp --dport 5 -m mark --mark 1 -j ACCEPT", 6)
    assert net.worker.list(6) == net.shown(6)
    assert net.worker.list() == net.shown()


def test_many_rules_in_one_transaction(net: Net) -> None:
    rules = [rules_for(dnat(proto="tcp", dport=port, to="172.18.0.2:80"))[0] for port in range(1, 1001)]
    net.worker.transaction(add=rules)
    assert net.worker.list() == [rule_text(rule) for rule in rules] == net.shown()
    assert net.worker.transaction(remove=rules) == []
    assert net.shown() == []


def test_counters_count_packets(net: Net) -> None:
    net.run("ip", "link", "set", "lo", "up")
    rule = rules_for(redirect(proto="udp", daddr="127.0.0.1", dport=7, to=8, local=True))[1]
    with pytest.raises(NotFoundError, match="read the counters of '-A OUTPUT"):
        net.worker.counters(rule)
    net.worker.transaction(add=[rule])
    assert net.worker.counters(rule) == (0, 0)
    send = "import socket; socket.socket(2, 2).sendto(b'x' * 72, ('127.0.0.1', 7))"
    net.run(sys.executable, "-c", send)
    assert net.worker.counters(rule) == (1, 100)
    net.worker.transaction(add=[DNAT])  # a commit of ours keeps the counts
    assert net.worker.counters(rule) == (1, 100)
    net.iptables("-t nat -F OUTPUT")
    assert not net.worker.exists(rule)


def test_a_moved_range_of_ports_keeps_its_order(net: Net) -> None:
    net.run("ip", "link", "set", "lo", "up")
    spec = dnat(proto="tcp", daddr="127.0.0.1", dport="9000-9002", to="127.0.0.1:7100-7102", local=True)
    net.worker.transaction(add=rules_for(spec))
    program = (
        "import socket\n"
        "servers = [socket.create_server(('127.0.0.1', 7100 + n)) for n in range(3)]\n"
        "for n in (1, 0, 2, 2, 1):\n"
        "    socket.create_connection(('127.0.0.1', 9000 + n), 5).close()\n"
        "    servers[n].settimeout(60); servers[n].accept()[0].close()\n"
        "print('ok')"
    )
    assert net.run(sys.executable, "-c", program) == "ok\n"
