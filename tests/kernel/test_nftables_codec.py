"""The nf_tables codec and the backend on it, against the kernel and nft(8)."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit._nat.nftables_probe import probe
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_expressions import expression
from netkit._netlink.socket import NetlinkSocket, Reply
from netkit._netlink.transport import NETLINK_NETFILTER
from netkit._netlink.wire import Request
from netkit._spec.nat import NatSpec, dnat, masquerade, redirect, snat
from netkit.errors import AccessError, KernelError, NotFoundError, ProtocolError, StateError, kernel_error
from tests.harness.patience import LONG
from tests.harness.tools import needs

pytestmark = [pytest.mark.capable, needs("nft")]

MASQUERADE = masquerade(saddr="172.18.0.0/24", oif="enp1s0")
WEB = dnat(proto="tcp", dport=80, to="172.18.0.2:80")
LOCAL_WEB = dnat(proto="tcp", dport=80, to="172.18.0.2:80", local=True)
SIX = snat(saddr="fd00::/64", to="2001:db8::1")


class Counted(NetlinkSocket):
    """A NetlinkSocket that counts what is asked, and can be disturbed."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        super().__init__(socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER), "the test's namespace")
        self.asked: list[str] = []
        self.before_change: Callable[[], None] | None = None
        self.after_change: Callable[[], None] | None = None

    def transact(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked.append("transact")
        before, self.before_change = self.before_change, None
        if before:
            before()
        replies = super().transact(requests)
        after, self.after_change = self.after_change, None
        if after:
            after()
        return replies

    def dump(self, request: Request) -> list[Reply]:
        self.asked.append("dump")
        return super().dump(request)

    def get(self, request: Request) -> Reply:
        self.asked.append("get")
        return super().get(request)


@pytest.fixture
def sockets() -> Iterator[Callable[[], Counted]]:
    opened: list[Counted] = []

    def open_one() -> Counted:
        opened.append(Counted())
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    run_nft("flush", "ruleset")


@pytest.fixture
def netfilter(sockets: Callable[[], Counted]) -> Counted:
    return sockets()


@pytest.fixture
def backend(netfilter: Counted) -> NftablesBackend:
    return NftablesBackend(netfilter)


def run_nft(*words: str) -> str:
    done = subprocess.run(["nft", *words], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ruleset() -> str:
    return run_nft("list", "ruleset")


def lines(text: str) -> list[str]:
    """Lines of a listing without indentation and marks."""
    return [line.strip().partition(" comment ")[0] for line in text.splitlines()]


# -- the codec --------------------------------------------------------------------------


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


# -- the backend ------------------------------------------------------------------------


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


def progname() -> str:
    with open(f"/proc/{os.getpid()}/comm") as comm:
        return comm.read().strip()


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


# -- outcomes that stay unknown ---------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ProtocolError])
def test_an_interrupted_add_leaves_nothing(
    netfilter: Counted, backend: NftablesBackend, kind: type[BaseException]
) -> None:
    (kept,) = backend.add([WEB])
    netfilter.after_change = raiser(kind)
    with pytest.raises(kind):
        backend.add([SIX, LOCAL_WEB])
    assert backend.rules() == [kept]
    assert ruleset().count("chain ") == 1
    backend.remove([kept])
    assert ruleset() == ""


@pytest.mark.parametrize("told", [0, 1])
def test_rules_of_which_the_kernel_has_not_told_are_removed(
    netfilter: Counted, backend: NftablesBackend, told: int
) -> None:
    """It had no memory for the echoes, say: what it has added is read when somebody needs it."""
    (kept,) = backend.add([WEB])
    transact = netfilter.transact

    def forgetful(requests: Sequence[Request]) -> list[Reply]:
        replies = transact(requests)
        rules = [reply for reply in replies if nft.parse_rule(reply) is not None]
        return [reply for reply in replies if reply not in rules[told:]]

    netfilter.transact = forgetful  # type: ignore[method-assign]
    (local,) = backend.add([LOCAL_WEB])
    netfilter.transact = transact  # type: ignore[method-assign]
    with pytest.raises(ProtocolError, match="not told"):
        backend.counters(local)
    backend.remove([local])
    assert ruleset().count("dnat to") == 1
    assert "chain output" not in ruleset()
    backend.remove([kept])
    assert ruleset() == ""


def test_a_removal_whose_answer_was_lost_has_happened(netfilter: Counted, backend: NftablesBackend) -> None:
    first, second, third = backend.add([WEB, SIX, LOCAL_WEB])
    netfilter.after_change = raiser(ProtocolError)
    backend.remove([first])
    netfilter.after_change = raiser(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        backend.remove([second])
    assert [rule_id.mark for rule_id in backend.rules()] == [third.mark]
    backend.remove([first, second, third])
    assert ruleset() == ""


def raiser(kind: type[BaseException]) -> Callable[[], None]:
    def do_raise() -> None:
        raise kind("disturbed by the test")

    return do_raise


def test_a_forked_child_is_refused(backend: NftablesBackend) -> None:
    (rule_id,) = backend.add([WEB])
    child = os.fork()
    if child == 0:
        try:
            backend.remove([rule_id])
        except StateError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert backend.exists(rule_id)


def test_threads_share_it(backend: NftablesBackend) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for port in range(1, 21):
                backend.remove(backend.add([dnat(proto="tcp", dport=port, to=("172.18.0.2", number))]))
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not failures
    assert ruleset() == ""


# -- the plain table --------------------------------------------------------------------


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


# -- kernels that lack something --------------------------------------------------------


class Lacking(Counted):
    """As a kernel would answer that lacks something."""

    def __init__(self, refuse: Callable[[Request], int]) -> None:
        super().__init__()
        self.refuse = refuse

    def transact(self, requests: Sequence[Request]) -> list[Reply]:
        for request in requests:
            if self.refuse(request):
                raise kernel_error(request.operation, self.refuse(request), netns=self.label)
        return super().transact(requests)

    def batch(self, requests: Sequence[Request]) -> list[KernelError | None]:
        for index, request in enumerate(requests):
            if self.refuse(request):
                outcomes: list[KernelError | None] = [None] * len(requests)
                outcomes[index] = kernel_error(request.operation, self.refuse(request), netns=self.label)
                return outcomes
        return super().batch(requests)


def refuse_inet(request: Request) -> int:
    """A kernel without CONFIG_NF_TABLES_INET."""
    return errno.EOPNOTSUPP if request.kind == 0x0A00 and request.body[0] == NFPROTO_INET else 0


def test_without_inet_there_are_two_tables() -> None:
    lacking = Lacking(refuse_inet)
    try:
        backend = NftablesBackend(lacking)
        both, six, four = backend.add([masquerade(oif="eth0"), SIX, WEB])
        assert [family for family, *_ in both.places] == [NFPROTO_IPV4, NFPROTO_IPV6]
        assert backend.rules() == [both, four, six]
        listed = lines(ruleset())
        assert f"table ip {backend.table} {{ # progname {progname()}" in listed
        assert f"table ip6 {backend.table} {{ # progname {progname()}" in listed
        assert listed.count('oifname "eth0" counter packets 0 bytes 0 masquerade') == 2
        assert listed.count("tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80") == 1
        detached = backend.detach([both])
        assert backend.adopt([both.mark])[0].mark == detached[0].mark
        backend.remove([both, four])
        assert "table ip " not in ruleset()
        backend.remove([six])
        assert ruleset() == ""
    finally:
        lacking.close()


def refuse_ipv6(request: Request) -> int:
    """A kernel without IPv6, which so has no inet tables either."""
    return errno.EAFNOSUPPORT if request.kind == 0x0A00 and request.body[0] != NFPROTO_IPV4 else 0


def test_without_ipv6_a_rule_of_both_families_is_one_of_ipv4() -> None:
    lacking = Lacking(refuse_ipv6)
    try:
        backend = NftablesBackend(lacking)
        (both,) = backend.add([masquerade(oif="eth0")])
        assert [family for family, *_ in both.places] == [NFPROTO_IPV4]
        (later,) = backend.add([masquerade(oif="eth1")])
        with pytest.raises(KernelError) as caught:
            backend.add([SIX])
        assert caught.value.errno == errno.EAFNOSUPPORT
        assert backend.rules() == [both, later]
        backend.remove([both, later])
        assert ruleset() == ""
    finally:
        lacking.close()


@pytest.mark.parametrize(("needle", "usable"), [(b"netkit-probe\0", True), (b"netkit-probe-owner\0", False)])
def test_probe_knows_that_inet_is_not_needed(needle: bytes, usable: bool) -> None:
    lacking = Lacking(lambda request: refuse_inet(request) if needle in request.body else 0)
    try:
        assert (probe(lacking) is None) == usable
    finally:
        lacking.close()


def test_a_kernel_without_nf_tables_is_told_as_it_said() -> None:
    lacking = Lacking(lambda request: errno.EOPNOTSUPP if request.kind == 0x10 else 0)
    try:
        backend = NftablesBackend(lacking)
        with pytest.raises(KernelError) as caught:
            backend.add([WEB])
        assert caught.value.errno == errno.EOPNOTSUPP
        assert "CONFIG_NF_TABLES " in (probe(lacking) or "")
    finally:
        lacking.close()


def test_probe_finds_it_usable_and_changes_nothing(netfilter: Counted, backend: NftablesBackend) -> None:
    backend.add([WEB])
    before = ruleset()
    assert probe(netfilter) is None
    assert ruleset() == before


@pytest.mark.parametrize(
    ("kind", "needle", "number", "named"),
    [
        (0x0A03, b"prerouting", errno.ENOENT, "nft_chain_nat"),
        (0x0A06, b"masq\0", errno.ENOENT, "CONFIG_NFT_MASQ"),
        (0x0A06, b"nat\0", errno.ENOENT, "CONFIG_NFT_NAT"),
        (0x0A06, b"redir\0", errno.ENOENT, "CONFIG_NFT_REDIR"),
        (0x0A00, b"owner\0", errno.EOPNOTSUPP, "Linux 5.12"),
        (0x10, b"", errno.EPERM, "Operation not permitted"),
    ],
)
def test_probe_names_what_is_missing(kind: int, needle: bytes, number: int, named: str) -> None:
    lacking = Lacking(lambda request: number if request.kind == kind and needle in request.body else 0)
    try:
        assert named in (probe(lacking) or "")
    finally:
        lacking.close()


def test_without_the_capability_it_is_an_access_error() -> None:
    """In a child without capabilities: EPERM comes with the sequence number of the batch's BEGIN."""
    program = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
from netkit._nat.nftables import NftablesBackend
from netkit._nat.nftables_probe import probe
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.nat import masquerade
from netkit.errors import AccessError
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
nothing = (ctypes.c_uint32 * 6)()
assert libc.capset(header, nothing) == 0
opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)
netfilter = NetlinkSocket(opened, "here", lambda: "CAP_NET_ADMIN")
try:
    NftablesBackend(netfilter).add([masquerade()])
except AccessError as problem:
    print(problem)
print(probe(netfilter))
"""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "cannot create nft table" in first
    assert "CAP_NET_ADMIN" in first
    assert "CAP_NET_ADMIN" in second
    assert issubclass(AccessError, PermissionError)
