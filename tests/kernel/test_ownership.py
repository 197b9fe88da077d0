"""Own, borrow, adopt, detach: each object, also between processes; what is adopted is deleted at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkit import (
    Bridge,
    Link,
    Namespace,
    NatRule,
    NotFoundError,
    Resource,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    Topology,
    VethPair,
)
from netkit._nat.backend import Iptables
from tests.harness import place
from tests.harness.oracle import addresses, ip, iptables_legacy, link, nft, nft_text, run_in
from tests.harness.patience import LONG
from tests.kernel.test_nat import IPTABLES, RULES, needs_iptables

# One that does not end says where it is.
STUCK = "import faulthandler; faulthandler.dump_traceback_later(280, exit=True)\n"


def elsewhere(code: str, *namespaces: Namespace) -> str:
    """Run code in a process of its own, with `host` and `box` open; its output."""
    names = ("host", "box")[: len(namespaces)]
    opened = "".join(
        [f"{name} = Namespace.from_fd({ns.fileno()})\n" for name, ns in zip(names, namespaces, strict=True)]
    )
    done = subprocess.run(
        place.there(sys.executable, "-W", "error", "-c", f"{STUCK}from netkit import *\n{opened}{code}"),
        pass_fds=[ns.fileno() for ns in namespaces],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


@pytest.fixture
def box() -> Any:
    with Namespace() as ns:
        yield ns


PAIR = "VethPair(host, box, name='v0', peer_name='eth0', address='10.0.0.1/24').create().detach()\n"

# How another process makes and detaches it; how this one finds it; where it is seen.
DETACHED: dict[str, tuple[str, Callable[[Namespace, Namespace], Resource]]] = {
    "pair, opened": (PAIR, lambda host, box: VethPair.open(host, "v0")),
    "pair, opened by its other end": (PAIR, lambda host, box: VethPair.open(box, "eth0", peer_ns=host)),
    "pair, described": (PAIR, lambda host, box: VethPair(host, box, name="v0", peer_name="eth0")),
    "bridge, opened": ("Bridge(host, 'br0').create().detach()", lambda host, box: Bridge.open(host, "br0")),
    "bridge, described": ("Bridge(host, 'br0').create().detach()", lambda host, box: Bridge(host, "br0")),
    "rule": (
        "NatRule.dnat(host, proto='tcp', dport=80, to='10.0.0.2:8080', local=True).create().detach()",
        lambda host, box: NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2:8080", local=True),
    ),
}


def state(host: Namespace) -> tuple[list[str], str]:
    return names(host), nft_text(host)


@pytest.mark.parametrize("kind", DETACHED)
@pytest.mark.parametrize("how", ["with", "scope", "delete", "exit"])
def test_adopted_it_is_deleted_at_the_end(kind: str, how: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    before = state(host)
    elsewhere(code, host, box)
    assert state(host) != before
    found = find(host, box)
    if how == "with":
        with found.adopt() as adopted:
            assert adopted is found
            assert found.exists
            assert state(host) != before
    elif how == "scope":
        with Scope() as lab:
            lab.own(found.adopt())
    elif how == "delete":
        found.adopt().delete()
    else:  # in a process that only ends
        name = "v0" if "pair" in kind else "br0"
        text = f"VethPair.open(host, '{name}')" if "pair" in kind else f"Bridge.open(host, '{name}')"
        if kind == "rule":
            text = "NatRule.dnat(host, proto='tcp', dport=80, to='10.0.0.2:8080', local=True)"
        elsewhere(f"import warnings; warnings.simplefilter('ignore'); it = {text}.adopt()", host)
    assert state(host) == before


@pytest.mark.parametrize("kind", [kind for kind in DETACHED if "opened" in kind])
def test_borrowed_it_cannot_be_deleted(kind: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    elsewhere(code, host, box)
    before = state(host)
    found = find(host, box)
    with found:
        assert found.exists
        for refused in (found.delete, found.detach, lambda: Scope().__enter__().own(found), found.create):
            with pytest.raises(StateError, match=r"borrowed.*adopt\(\)"):
                refused()
    assert state(host) == before
    found.adopt().delete()


@pytest.mark.parametrize("kind", DETACHED)
def test_adopted_and_detached_again_it_stays(kind: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    before = state(host)
    elsewhere(code, host, box)
    detached = state(host)
    with find(host, box).adopt() as again:
        again.detach()
    assert state(host) == detached
    with pytest.raises(StateError, match="borrowed"):
        again.delete()
    again.adopt().delete()
    assert state(host) == before
    with pytest.raises(StateError, match="deleted"):
        again.delete()


@pytest.mark.parametrize("kind", [kind for kind in DETACHED if "opened" not in kind])
def test_there_is_none_to_adopt(kind: str, host: Namespace, box: Namespace) -> None:
    found = DETACHED[kind][1](host, box)
    with pytest.raises(NotFoundError):
        found.adopt()
    assert not found.exists
    with found.create():  # nothing has happened to it
        pass
    assert names(host) == ["lo"]


def test_owned_it_is_not_adopted(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="v0", peer_name="eth0") as pair, pytest.raises(StateError, match="created"):
        pair.adopt()


@contextmanager
def living(code: str, *namespaces: Namespace) -> Iterator[int]:
    """Another process that lives meanwhile, and owns what the code makes; its id where it is."""
    names = ("host", "box")[: len(namespaces)]
    opened = "".join(
        [f"{name} = Namespace.from_fd({ns.fileno()})\n" for name, ns in zip(names, namespaces, strict=True)]
    )
    ready = "print('ready', flush=True); input()"
    process = subprocess.Popen(
        place.there(
            sys.executable, "-c", f"from netkit import *\n{opened}with Scope() as lab:\n    {code}; {ready}"
        ),
        pass_fds=[ns.fileno() for ns in namespaces], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield place.number_there(place.main_of(process.pid)) if place.ROOTLESS else process.pid
    finally:
        process.communicate("end\n")
    assert process.returncode == 0


@pytest.mark.capable
def test_what_a_living_process_owns_is_not_adopted(host: Namespace, box: Namespace) -> None:
    code = "lab.own(Bridge(host, 'br0')); lab.own(VethPair(host, box, name='v0', peer_name='eth0'))"
    with living(f"{code}; lab.own(Namespace('red', persistent=True))", host, box) as pid:
        before = elsewhere(SHOWS, host, box)
        with pytest.raises(StateError, match=f"process {pid}"):
            Bridge.open(host, "br0").adopt()
        assert f"process {pid}" in elsewhere(TRIES, host, box)
        assert elsewhere(SHOWS, host, box) == before
    assert names(host) == ["lo"]
    assert not Path("/run/netns/red").exists()


def test_a_link_that_a_program_inside_owns_is_not_adopted(host: Namespace) -> None:
    """Without root, too: what runs beside the broker's namespaces is root there, and notes what it makes."""
    with living("lab.own(Bridge(host, 'br0'))", host) as pid:
        for found in (Bridge.open(host, "br0"), host.links["br0"]):
            with pytest.raises(StateError, match=f"is owned by process {pid}"):
                found.adopt()
    assert names(host) == ["lo"]


SHOWS = "print(sorted((l.name, l._read().group, l._read().alias) for l in [*host.links, *box.links]))"
TRIES = """
for found in (
    Bridge.open(host, "br0"), Bridge(host, "br0"), VethPair.open(host, "v0"), VethPair.open(box, "eth0"),
    VethPair(host, box, name="v0", peer_name="eth0"), Namespace.open("red"), Namespace("red"),
):
    try:
        found.adopt()
    except StateError as refusal:
        print(refusal)
    else:
        raise SystemExit(f"{found!r} is adopted")
"""


@pytest.mark.parametrize("again", ["opened", "described", "link"])
def test_of_two_objects_one_owns(again: str, host: Namespace, box: Namespace) -> None:
    """Else the one would delete what the other still needs."""
    made = [VethPair(host, box, name="v0", peer_name="eth0"), Bridge(host, "br0")]
    with Scope() as lab:
        lab.own(*made)
        found: dict[str, list[Callable[[], Any]]] = {
            "opened": [
                VethPair.open(host, "v0").adopt,
                VethPair.open(box, "eth0").adopt,
                Bridge.open(host, "br0").adopt,
            ],
            "described": [
                VethPair(host, box, name="v0", peer_name="eth0").adopt,
                Bridge(host, "br0").adopt,
            ],
            "link": [host.links[name].adopt for name in ("v0", "br0")],
        }
        for adopt in found[again]:
            with pytest.raises(StateError, match="owned in this program"):
                adopt()
    assert names(host) == ["lo"]


@pytest.mark.capable
def test_of_two_objects_for_a_namespace_one_owns() -> None:
    with Namespace("red", persistent=True) as red:
        with Namespace.open("red") as again, pytest.raises(StateError, match="owned in this program"):
            again.adopt()
        with pytest.raises(StateError, match="owned in this program"):
            Namespace("red").adopt()
        assert red.exists
    assert not Path("/run/netns/red").exists()


# -- pairs ------------------------------------------------------------------------------------------------


def test_an_opened_pair_knows_both_ends(host: Namespace, box: Namespace) -> None:
    elsewhere(PAIR, host, box)
    pair = VethPair.open(host, "v0")
    assert (pair.link.name, pair.peer.name, pair.peer.netns) == ("v0", "eth0", box)
    assert pair.link.ifindex == link(host, "v0")["ifindex"]
    assert pair.peer.ifindex == link(box, "eth0")["ifindex"]
    near, far = VethPair.open(box, "eth0")
    assert (near.name, far.name, far.netns) == ("eth0", "v0", host)
    pair.adopt().delete()
    with pair.create():  # as it was found
        assert addresses(host, "v0") == ["10.0.0.1/24"]
        assert link(box, "eth0")["operstate"] == "UP"


def test_both_ends_in_one_namespace(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    pair = VethPair.open(host, "v1")
    assert (pair.link.name, pair.peer.name, pair.peer.netns) == ("v1", "v0", host)
    pair.adopt().delete()
    assert names(host) == ["lo"]


def test_the_peer_may_be_where_nobody_has_opened(host: Namespace) -> None:
    """A runtime whose container's namespace has no name: one end is enough to delete both."""
    command = place.there("unshare", "--net", "sh", "-c", "echo ready; exec cat")
    container = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert container.stdout is not None
        assert container.stdout.readline() == "ready\n"
        with Namespace.from_pid(place.main_of(container.pid)) as box:
            VethPair(host, box, name="v0", peer_name="eth0").create().detach()
        pair = VethPair.open(host, "v0")
        assert pair.link.name == "v0"
        with pytest.raises(StateError, match="peer_ns="):
            _ = pair.peer
        assert "not open here" in repr(pair)
        with Namespace.from_pid(place.main_of(container.pid)) as box:
            assert VethPair.open(host, "v0").peer.name == "eth0"
        with pair.adopt():
            assert link(host, "v0")["group"] != "default"
        assert names(host) == ["lo"]
    finally:
        container.communicate()


def test_what_is_no_pair_is_refused(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0"), pytest.raises(SpecError, match="bridge, not a veth"):
        VethPair.open(host, "br0")
    with pytest.raises(NotFoundError):
        VethPair.open(host, "nothing")
    with VethPair(host, host, name="v0", peer_name="v1"):
        with pytest.raises(NotFoundError, match="it is not in"):
            VethPair.open(host, "v0", peer_ns=box)
        with pytest.raises(NotFoundError, match="'v1'"):
            VethPair(host, host, name="v0", peer_name="other").adopt()


def test_a_stranger_with_the_same_name_is_left_alone(host: Namespace, box: Namespace) -> None:
    elsewhere(PAIR, host, box)
    pair = VethPair.open(host, "v0").adopt()
    index = pair.link.ifindex
    run_in(host, "ip", "link", "delete", "v0")
    run_in(host, "ip", "link", "add", "v0", "index", str(index), "type", "veth", "peer", "name", "v1")
    assert not pair.exists
    pair.delete()
    assert names(host) == ["lo", "v0", "v1"]


# -- bridges and namespaces -------------------------------------------------------------------------------


def test_a_bridge_is_detached_with_what_it_connects(host: Namespace, box: Namespace) -> None:
    elsewhere(
        "b = Bridge(host, 'br0', address='10.0.0.1/24').create(); b.connect(box, name='v0'); b.detach()",
        host, box,
    )  # fmt: skip
    with Bridge.open(host, "br0").adopt() as bridge, VethPair.open(host, "v0").adopt() as pair:
        assert [port.name for port in bridge.ports] == ["v0"]
        assert pair.peer.netns is box
    assert names(host) == names(box) == ["lo"]


@pytest.mark.capable
def test_a_namespace_is_adopted_by_its_description_or_path() -> None:
    for found in (lambda: Namespace("red"), lambda: Namespace.open("/run/netns/red")):
        elsewhere("Namespace('red').create().detach()")
        with found().adopt() as red:
            assert red.name == "red"
            assert red.fileno() > 0
            assert red.path == "/run/netns/red"
        assert not Path("/run/netns/red").exists()
        with pytest.raises(NotFoundError):
            Namespace("red").adopt()
    with pytest.raises(StateError, match="not created yet"):
        Namespace().adopt()


@pytest.mark.capable
def test_the_name_of_a_living_process_is_not_adopted() -> None:
    """A symlink leads to a descriptor of it: it cannot outlive that process, so nobody else can own it."""
    with living("lab.own(Namespace('red'))"):
        for found in (Namespace("red"), Namespace.open("red")):
            with pytest.raises(StateError, match=r"process|symlink"):
                found.adopt()
        found.close()


# -- NAT --------------------------------------------------------------------------------------------------


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


# -- routes, sysctls, any link ----------------------------------------------------------------------------


def routes(ns: Namespace) -> list[str]:
    return sorted(item["dst"] for item in ip(ns, "route", "show", "table", "100"))


def test_routes_are_detached_and_adopted_one_by_one(host: Namespace) -> None:
    with RouteTable(host, 100) as table:
        for number in range(4):
            table.add(f"10.{number}.0.0/16", type="blackhole")
        kept = table.add("10.9.0.0/16", type="blackhole", metric=5)
        assert table.detach("10.0.0.0/16").detach(kept) is table
    assert routes(host) == ["10.0.0.0/16", "10.9.0.0/16"]
    elsewhere("RouteTable(host, 100).add('10.8.0.0/16', type='blackhole')", host)
    run_in(host, "ip", "route", "add", "blackhole", "10.7.0.0/16", "table", "100", "metric", "7")
    with RouteTable(host, 100) as table:
        for each in table.filter(proto="netkit"):
            table.adopt(each)
        assert table.adopt("10.7.0.0/16", metric=7).metric == 7
        for missing in ("10.77.0.0/16", "default"):
            with pytest.raises(NotFoundError):
                table.adopt(missing)
        with pytest.raises(NotFoundError):
            table.adopt("10.7.0.0/16", metric=8)
    assert routes(host) == []


def test_a_whole_table_is_detached(host: Namespace) -> None:
    with Scope() as lab:
        lab.own(RouteTable(host, 100)).add("10.1.0.0/16", type="blackhole")
        lab.own(Bridge(host, "br0"))
        assert lab.detach() is lab
        lab.own(Bridge(host, "br1"))
    assert routes(host) == ["10.1.0.0/16"]
    assert names(host) == ["br0", "lo"]


ADDITIONS: dict[str, Callable[[Any, Link, int], Any]] = {
    "rules": lambda scope, port, n: scope.add(src=f"10.{n}.0.0/16", table=100, priority=700 + n),
    "neighbours": lambda scope, port, n: scope.add(f"10.0.0.{n + 9}", mac=f"02:00:00:00:00:0{n}", dev=port),
    "addresses": lambda scope, port, n: scope.add(f"10.0.0.{n + 9}/24"),
}


def ours(scope: Any) -> list[str]:
    """Without what the kernel adds by itself: neighbours."""
    return [text for text in map(str, scope) if re.search(r"\b10\.(0\.0\.1[01]|[12]\.0\.0)\b", text)]


@pytest.mark.parametrize("what", ADDITIONS)
def test_what_was_added_is_detached(what: str, host: Namespace) -> None:
    add = ADDITIONS[what]
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        scopes: dict[str, Any] = {
            "rules": host.rules, "neighbours": host.neighbours, "addresses": bridge.link.addresses,
        }  # fmt: skip
        scope = scopes[what]
        with pytest.raises(StateError, match="owns nothing"):
            scope.detach()
        with scope:
            add(scope, bridge.link, 1)
            assert scope.detach() is scope
            add(scope, bridge.link, 2)
            assert len(ours(scope)) == 2
        assert len(ours(scope)) == 1


def test_the_main_table_owns_nothing(host: Namespace) -> None:
    route = host.routes.add("10.1.0.0/16", type="blackhole")
    for refused in (host.routes.adopt, host.routes.detach):
        with pytest.raises(StateError, match="with RouteTable"):
            refused(route)
    with RouteTable(host) as table:
        table.adopt(route)
    assert len(host.routes) == 0


def test_a_scope_with_an_anonymous_namespace_detaches_nothing() -> None:
    with Scope() as lab:
        _, bridge = lab.own(host := Namespace(), Bridge(host, "br0"))
        with pytest.raises(StateError, match="anonymous"):
            lab.detach()
        assert link(host, "br0")["group"] != "default"
        bridge.delete()  # owned as before


@pytest.mark.capable
def test_what_cannot_be_detached_whole_is_not_detached_at_all() -> None:
    plan = Topology.line(2)
    with Scope() as lab, Namespace("red") as red:
        lab.own(red)
        bridge, network = lab.own(Bridge(red, "br0"), plan.create())
        pair = lab.own(VethPair(red, red, name="v0", peer_name="v1"))
        with pytest.raises(StateError, match="named=True"):
            lab.detach()
        with pytest.raises(StateError, match="named=True"):
            network.detach()
        for each in (red, bridge, pair, network):
            with pytest.raises(StateError, match="created"):
                each.adopt()  # owned as before
        assert Path("/run/netns/red").is_symlink()
    assert not Path("/run/netns/red").is_symlink()


def test_a_sysctl_is_not_adopted(host: Namespace) -> None:
    """What it was before is known to who set it alone."""
    with host.sysctl.override("net.ipv4.ip_default_ttl", 77) as override:
        override.detach()
        with pytest.raises(StateError, match="forgotten"):
            override.adopt()
    with pytest.raises(StateError, match="forgotten"):
        host.sysctl.override("net.ipv4.ip_default_ttl", 77).adopt()
    assert host.sysctl["net.ipv4.ip_default_ttl"] == "77"


def test_any_link_can_be_adopted(host: Namespace) -> None:
    run_in(host, "ip", "tuntap", "add", "tap0", "mode", "tap")
    found: Link = host.links["tap0"]
    with Scope() as lab:
        owned = lab.own(found.adopt())
        assert owned.exists
        assert owned.link == found
        assert owned.detach() is owned
        with pytest.raises(StateError, match="borrowed"):
            owned.delete()
    assert names(host) == ["lo", "tap0"]
    with owned.adopt():
        pass
    assert names(host) == ["lo"]
    assert not owned.exists
    with pytest.raises(NotFoundError):
        found.adopt()
    with pytest.raises(SpecError, match="device of the machine"):
        host.links["lo"].adopt()


def test_an_adopted_link_whose_index_is_used_again_is_left_alone(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "one", "index", "77", "type", "bridge")
    owned = host.links["one"].adopt()
    run_in(host, "ip", "link", "delete", "one")
    run_in(host, "ip", "link", "add", "one", "index", "77", "type", "bridge")
    assert not owned.exists
    owned.delete()
    assert names(host) == ["lo", "one"]
