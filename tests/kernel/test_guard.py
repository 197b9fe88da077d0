"""After SIGKILL: the guard undoes what the kernel does not, within a second, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netkit
from netkit import Bridge, Namespace, VethPair
from netkit._system.interpreter import _START
from netkit._system.journal import journal
from tests.harness import processes
from tests.harness.killed import doomed, said
from tests.harness.oracle import Events
from tests.harness.processes import command
from tests.harness.tools import needs_iptables

pytestmark = pytest.mark.capable

# What may differ after a death is none of this.
LOOKS = (
    "ip -o link", "ip -o -4 address", "ip -4 route show table all", "ip -6 rule", "ip rule", "ls /run/netns",
    "ls /run/netkit/journal", "ls /run/netkit/sysctl", "sysctl -a 2>/dev/null | grep 'net.ipv4.*forwarding'",
    "grep nsfs /proc/self/mountinfo",
)  # fmt: skip
SLEEP = processes.unique_sleep()
BUILDS = {
    "a bridge": 'own(Bridge(host, "br-a", address="10.91.0.1/24"))',
    "several bridges": 'for n in range(9): own(Bridge(host, f"br-{n}"))',
    "a veth within the host": 'own(VethPair(host, host, name="va", peer_name="vb", address="10.91.0.1/24"))',
    "links of another group and MAC": """
for each in (own(Bridge(host, "br-a")), own(VethPair(host, host, name="va", peer_name="vb"))):
    each.link.set(group=5, mac="02:00:00:00:00:77")
each.peer.set(group=5, mac="02:00:00:00:00:78")""",
    "links that were moved here": """
one, two = own(Namespace()), own(Namespace())
pair = own(VethPair(one, two, name="va", peer_name="vb"))
pair.link.move(host), pair.peer.move(host)
own(VethPair(one, host, name="vc", peer_name="vd")).link.move(host)""",
    "a named namespace": 'own(Namespace("box"))',
    "a persistent namespace": 'own(Namespace("box", persistent=True))',
    "a persistent namespace with a veth": """
box = own(Namespace("box", persistent=True))
own(VethPair(host, box, name="v-a", peer_name="eth0", address="10.91.0.1/24"))""",
    "a route": 'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")',
    "routes of both families": """
own(Bridge(host, "br-a", address=["10.91.0.1/24", "fd91::1/64"]))
table = own(RouteTable(host))
table.add("10.92.0.0/16", via="10.91.0.2", metric=7)
table.add("fd92::/64", via="fd91::2")""",
    "a sysctl": 'own(host.sysctl.override("net.ipv4.conf.all.forwarding", FORWARDING))',
    "programs": f"own(Namespace()).popen({SLEEP.split()})",
    "all of it": f"""
br = own(Bridge(host, "br-a", address="10.91.0.1/24"))
for name in ("one", "two"):
    br.connect(own(Namespace(name)), name="v-" + name, peer_address="10.91.0.2/24", default_route=True)
own(Namespace("three", persistent=True)).popen({SLEEP.split()})
own(host.sysctl.override("net.ipv4.conf.all.forwarding", FORWARDING))
own(RouteTable(host, 191)).add("10.92.0.0/16", via="10.91.0.2")
own(NatRule.masquerade(host, saddr="10.91.0.0/24"))""",
}


@pytest.fixture
def outside() -> Iterator[Namespace]:
    """The session's own namespace, which survives; warmed up so that nothing is new in it."""
    (Path("/proc/sys/net/ipv4/conf/all/forwarding")).read_text()
    with Namespace.current() as ns:
        yield ns
    netkit.shutdown()


def _forwarding() -> str:
    now = Path("/proc/sys/net/ipv4/conf/all/forwarding").read_text().strip()
    return f"FORWARDING = {1 - int(now)}\n"


@pytest.mark.parametrize("build", BUILDS)
def test_F01_nothing_is_left_by_a_killed_process(outside: Namespace, build: str) -> None:
    before = said(*LOOKS)
    with doomed(_forwarding() + BUILDS[build]) as process:
        if build != "programs":
            assert said(*LOOKS) != before
        assert process.guard
        process.kill()
    wait_for_the_kernel(outside)
    assert said(*LOOKS) == before
    assert not any(said(f"pgrep -f '^{SLEEP}$'").values())


def wait_for_the_kernel(outside: Namespace) -> None:
    """Veths whose other end was in a namespace that died go some 30 ms later (F35)."""
    with Events(outside) as events:
        events.wait_until(lambda: "v-" not in said("ip -o link")["ip -o link"])


@needs_iptables
def test_F01_iptables_rules_go_and_an_equal_one_of_others_stays(outside: Namespace) -> None:
    rule = "POSTROUTING -s 10.91.0.0/24 -j MASQUERADE"
    listing = "iptables-legacy -w -t nat -S POSTROUTING"
    said(f"iptables-legacy -w -t nat -A {rule}")
    try:
        before = said(listing)
        with doomed('own(NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables"))') as process:
            assert said(listing)[listing].count(rule) == 2
            process.kill()
        assert said(listing) == before
    finally:
        said(f"iptables-legacy -w -t nat -D {rule}")


@needs_iptables
@pytest.mark.parametrize("first", ["older", "newer"])
def test_F01_of_equal_iptables_rules_of_two_processes_each_takes_its_own(
    outside: Namespace, first: str
) -> None:
    """Nobody else's is left, in whatever order they die; a stranger's stays."""
    rule = "POSTROUTING -s 10.91.0.0/24 -j MASQUERADE"
    listing = "iptables-legacy -w -t nat -S POSTROUTING"
    program = 'own(NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables"))'
    said(f"iptables-legacy -w -t nat -A {rule}")
    try:
        before = said(listing)
        with doomed(program) as older, doomed(program) as newer:
            assert said(listing)[listing].count(rule) == 3
            order = [older, newer] if first == "older" else [newer, older]
            order[0].kill()
            assert said(listing)[listing].count(rule) == 2
            order[1].kill()
        assert said(listing) == before
    finally:
        said(f"iptables-legacy -w -t nat -D {rule}")


@needs_iptables
@pytest.mark.parametrize("end", ["kill", "gc"])
def test_F01_of_a_rule_of_iptables_that_was_adopted_one_goes(outside: Namespace, end: str) -> None:
    """A dead process's, whose guard was killed too, is adopted; who dies then takes that one only."""
    rule = 'NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables")'
    listing = "iptables-legacy -w -t nat -S POSTROUTING"
    before = said(listing)
    with doomed(f"own({rule})") as dead:
        dead.kill_guard()
        dead.kill()
    assert said(listing) != before
    collect = [sys.executable, "-m", "netkit", "gc"]
    more = "" if end == "gc" else f"; own({rule})"
    with doomed(f"own({rule}.adopt()){more}") as heir, doomed(f"own({rule})") as other:
        owned = said(listing)
        if end == "gc":
            subprocess.run(collect, check=True, capture_output=True)
            assert said(listing) == owned
        heir.kill()
        assert len(said(listing)[listing].splitlines()) == len(before[listing].splitlines()) + 1
        other.kill()
    assert said(listing) == before
    subprocess.run(collect, check=True, capture_output=True)
    assert said(listing) == before


def test_F01_what_a_route_replaced_comes_back(outside: Namespace) -> None:
    said("ip route add blackhole 10.92.0.0/16 table 191")
    try:
        before = said(*LOOKS)
        with doomed('own(RouteTable(host, 191)).replace("10.92.0.0/16", type="prohibit")') as process:
            assert "prohibit 10.92" in said("ip route show table 191")["ip route show table 191"]
            process.kill()
        assert said(*LOOKS) == before
    finally:
        said("ip route flush table 191")


_IN_A_HIDDEN_NAMESPACE = """
import os, signal, sys
fd = int(sys.argv[1])
if os.fork():
    os.close(fd)  # nobody in this pid namespace has it but the child
    while True:
        signal.pause()
from netkit import Bridge, Namespace
host = Namespace.from_fd(fd)
os.close(fd)
for _ in range(3):
    with Namespace.current() as here, Bridge(here, "br-z"):
        pass  # another one, which is let go of
Bridge(host, "br-a").create()
host.sysctl.override("net.ipv4.conf.lo.proxy_arp", 1).create()
print("ready", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_F01_in_a_namespace_that_only_processes_elsewhere_hold(outside: Namespace) -> None:
    """So it is for what the broker runs: the ordinary user's program is in another pid namespace."""
    with Namespace() as host, Events(host) as events:
        fd = os.open(host.path, os.O_RDONLY)
        program = [sys.executable, "-c", _IN_A_HIDDEN_NAMESPACE, str(fd)]
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with subprocess.Popen(
            [*unshare, *program], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            os.close(fd)
            assert child.stdin
            assert child.stdout
            try:
                assert child.stdout.readline() == "ready\n"
                assert "br-a" in host.links
                assert host.sysctl["net.ipv4.conf.lo.proxy_arp"] == "1"
                child.stdin.write("\n")
                child.stdin.flush()
                events.wait_until(lambda: "br-a" not in host.links)
                assert host.sysctl["net.ipv4.conf.lo.proxy_arp"] == "0"
            finally:
                child.kill()


def test_F42_a_renamed_link_is_found_again(outside: Namespace) -> None:
    before = said(*LOOKS)
    with doomed('own(Bridge(host, "br-a"))') as process:
        said("ip link set br-a down", "ip link set br-a name other")
        process.kill()
    assert said(*LOOKS) == before


def test_F43_a_link_that_took_our_index_and_name_stays(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a"))') as process:
        index = outside.links["br-a"].ifindex
        said(f"ip link del br-a; ip link add br-a index {index} type bridge")
        process.kill()
        assert process.journal.exists()  # something is left that cannot be judged: `netkit gc` says so
    assert outside.links["br-a"].ifindex == index
    said("ip link del br-a")
    process.journal.unlink()


def test_F22_a_name_made_anew_by_others_stays(outside: Namespace) -> None:
    with doomed('own(Namespace("box", persistent=True))') as process:
        said("ip netns del box; ip netns add box")
        process.kill()
    assert "box" in os.listdir("/run/netns")
    said("ip netns del box")
    process.journal.unlink(missing_ok=True)


def test_F68_a_sysctl_that_others_hold_is_left_to_them(outside: Namespace) -> None:
    key = "net.ipv4.conf.all.forwarding"
    before = outside.sysctl[key]
    other = 1 - int(before)
    program = f'own(host.sysctl.override("{key}", {other}))'
    with doomed(program) as process:
        with outside.sysctl.override(key, other):
            process.kill()
            assert outside.sysctl[key] == str(other)
        assert outside.sysctl[key] == before


def test_what_was_detached_outlives_its_process(outside: Namespace) -> None:
    with doomed("""
bridge, box = own(Bridge(host, "br-a")), own(Namespace("box"))
bridge.detach(), box.detach()
pair = own(VethPair(host, box, name="va", peer_name="eth0"))
pair.detach()""") as process:
        process.kill()
    here = said("ip -d link show group default")["ip -d link show group default"]
    assert "br-a" in here
    assert "va@" in here
    assert "alias" not in here
    with Namespace.open("box") as box:
        box.adopt()
        Bridge.open(outside, "br-a").adopt().delete()
        box.delete()
    assert "br-a" not in outside.links
    assert not os.path.lexists("/run/netns/box")


def test_what_was_adopted_goes_with_its_new_owner(outside: Namespace) -> None:
    said("ip link add br-a type bridge; ip netns add box")
    with doomed('Bridge.open(host, "br-a").adopt(); Namespace.open("box").adopt()') as process:
        assert outside.links["br-a"].group != 0
        process.kill()
    assert "br-a" not in outside.links
    assert not os.path.lexists("/run/netns/box")


def test_what_is_borrowed_stays(outside: Namespace) -> None:
    said("ip link add br-a type bridge; ip netns add box")
    program = 'Bridge.open(host, "br-a"); Namespace.open("box"); own(Bridge(host, "br-b"))'
    with doomed(program) as process:
        process.kill()
    assert "br-a" in outside.links
    assert "br-b" not in outside.links
    assert os.path.lexists("/run/netns/box")
    said("ip link del br-a; ip netns del box")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_to_the_process_group_pass_the_guard_by(outside: Namespace, number: signal.Signals) -> None:
    before = said(*LOOKS)
    with doomed('own(Bridge(host, "br-a"))', start_new_session=True) as process:
        assert os.getsid(process.guard) not in (os.getsid(0), process.pid)
        os.kill(process.guard, number)
        os.killpg(process.pid, number)
        process.kill()
    assert said(*LOOKS) == before


def test_a_forked_child_that_lives_on_does_not_hold_the_guard_back(outside: Namespace) -> None:
    before = said(*LOOKS)
    program = """
import os
own(Bridge(host, "br-a"))
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)"""
    with doomed(program) as process:
        process.kill()
        assert said(*LOOKS) == before


def test_nothing_is_written_and_no_guard_started_for_what_the_kernel_cleans() -> None:
    program = """
red, blue = own(Namespace()), own(Namespace())
bridge = own(Bridge(red, "br0", address="10.0.0.1/24"))
bridge.connect(blue, name="v", peer_address="10.0.0.2/24", default_route=True)
own(VethPair(host, blue, name="v-host", peer_name="host"))
own(red.sysctl.override("net.ipv4.ip_forward", 1))
own(RouteTable(red, 100)).add("10.1.0.0/16", via="10.0.0.2")
own(NatRule.masquerade(red, saddr="10.0.0.0/24"))
red.ping("10.0.0.2"), red.call(print, file=sys.stderr)"""
    with doomed(program) as process:
        assert process.guard == 0
        process.kill()
    with Namespace.current() as ns:
        wait_for_the_kernel(ns)


def _await_quiet(pid: int) -> None:
    """When it waits for its owner's end, it has loaded all that it needs."""
    while "poll" not in Path(f"/proc/{pid}/wchan").read_text():
        os.sched_yield()


def test_the_guard_is_small(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a"))') as process:
        _await_quiet(process.guard)
        rollup = Path(f"/proc/{process.guard}/smaps_rollup").read_text()
        kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        process.kill()
    assert kilobytes < 8192


def test_the_guard_loads_what_it_needs_and_no_more() -> None:
    """Each module is a quarter of a millisecond of the 20 that it may take."""
    program = _START.format(3, 4, "_lifecycle.guard_program").replace("main()\n", "print(*sys.modules)\n")
    package = str(Path(netkit.__file__).parent)
    argv = [sys.executable, "-I", "-S", "-c", program, package]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "netkit._lifecycle.reclaim" in loaded
    slow = {"typing", "enum", "re", "ipaddress", "socket", "signal", "threading", "subprocess", "json"}
    assert not slow.intersection(loaded)
    ours = [name for name in loaded if name.startswith("netkit")]
    assert len(ours) < 47, ours


def test_shutdown_ends_the_guard_and_removes_the_journal(outside: Namespace) -> None:
    Bridge(outside, "br-a").create()
    pid, path = journal.guard_pid, journal.path
    assert pid
    assert os.path.exists(path)
    with pytest.warns(ResourceWarning, match="br-a"):
        netkit.shutdown()
    assert journal.guard_pid is None
    assert not os.path.exists(path)
    assert not command(pid)  # process 1 may not have reaped it yet
    with Bridge(outside, "br-b"):  # and netkit can be used again
        assert journal.guard_pid


def test_what_ended_is_struck_out(outside: Namespace) -> None:
    with Bridge(outside, "br-a"), Namespace("box"), VethPair(outside, outside, name="va", peer_name="vb"):
        assert journal.noted == 3
        with pytest.raises(netkit.ExistsError):
            Bridge(outside, "br-a").create()
        with pytest.raises(netkit.ExistsError):
            Namespace("box").create()
        assert journal.noted == 3
    assert journal.noted == 0


def test_a_long_life_does_not_make_a_long_journal(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netkit._system.journal._LARGEST", 2000)
    before = said(*LOOKS)
    with Bridge(outside, "br-a"):
        first = journal.guard_pid
        for _ in range(60):
            Namespace("box").create().delete()
        assert os.path.getsize(journal.path) < 4000
        assert "br-a" in Path(journal.path).read_text()
        assert journal.guard_pid != first
        assert len(list(Path(journal.path).parent.glob(f"{os.getpid()}-*"))) == 1  # others may be dying
    netkit.shutdown()
    assert said(*LOOKS) == before


def test_without_a_writable_run_the_guard_has_a_journal_without_a_name(outside: Namespace) -> None:
    before = said(*LOOKS)
    program = """
import netkit._system.journal as module
module.DIRECTORY = "/proc/no/such/place"
own(Bridge(host, "br-a"))"""
    with doomed(program) as process:
        assert process.guard
        assert not process.journal.is_absolute()
        process.kill()
    assert said(*LOOKS) == before


def test_a_full_run_refuses_before_anything_is_made(outside: Namespace) -> None:
    program = """
import os
import netkit._system.journal as module
def full(file, data): raise OSError(28, "full")
own(Bridge(host, "br-a"))
module.os = type(sys)("os"); module.os.__dict__.update(os.__dict__); module.os.write = full
try:
    own(Bridge(host, "br-b"))
except KernelError as problem:
    assert problem.errno == 28 and "journal" in str(problem), problem
else:
    raise AssertionError
assert "br-b" not in host.links"""
    with doomed(program) as process:
        process.kill()
    assert "br-a" not in outside.links


def test_what_is_owned_in_a_namespace_that_was_detached_goes_nonetheless(outside: Namespace) -> None:
    with doomed("""
box = own(Namespace("box"))
own(Bridge(box, "br-a")), own(VethPair(box, host, name="va", peer_name="vb"))
box.detach()""") as process:
        process.kill()
    with Namespace.open("box") as box:
        assert [link.name for link in box.links] == ["lo"]
        assert "vb" not in outside.links
        box.adopt().delete()


def test_a_guard_that_was_killed_has_a_successor(outside: Namespace) -> None:
    before = said(*LOOKS)
    with doomed("""
import os, signal
from netkit._system.journal import journal
own(Bridge(host, "br-a"))
first = journal.guard_pid
os.kill(first, signal.SIGKILL)
assert journal._guard.wait(60)
own(Bridge(host, "br-b"))
assert journal.guard_pid != first""") as process:
        process.kill()
    assert said(*LOOKS) == before


def test_a_namespace_that_ended_with_its_owner_is_not_searched_among_all_descriptors(
    host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are tens of thousands, which take 0.1 s to read; the other end of its link tells as much."""
    from netkit._lifecycle.claims import Claims
    from netkit._lifecycle.reclaim import GONE, Finding, Reclaiming
    from netkit._system import places
    from netkit._system.journal_lines import Entry

    with Namespace() as gone:
        ended = gone._live_runtime().place
    here = host._live_runtime().place
    link = ["veth", "7", "02:00:00:00:00:01", here, "4711", "v0", ended, "4712", "eth0"]
    entries = [Entry(1, "name", [ended, "box", "/proc/1/fd/4711"]), Entry(2, "link", link)]
    monkeypatch.setattr(places, "_descriptors", lambda: pytest.fail("it looks at all of them"))
    found: list[Finding] = []
    host.call(lambda: Reclaiming(Claims).run(entries, found.append))
    assert [each.outcome for each in found] == [GONE, GONE]
