"""`netkit gc`: what killed programs have left, when their guards were killed as well, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netkit
from netkit import Bridge, Namespace, VethPair
from tests.harness.killed import Doomed, doomed, said
from tests.harness.patience import LONG
from tests.harness.tools import needs_iptables
from tests.kernel.test_guard import BUILDS, LOOKS, SLEEP, _forwarding, wait_for_the_kernel

pytestmark = pytest.mark.capable

# Without links and what hangs on them, which the kernel goes on changing for a while.
NAMES = (*LOOKS[3:8], *LOOKS[9:])


@pytest.fixture
def outside() -> Iterator[Namespace]:
    """The session's own namespace, with nothing in the way of a collector."""
    netkit.shutdown()
    assert netkit.gc() == []
    with Namespace.current() as ns:
        yield ns
    netkit.shutdown()
    assert netkit.gc() == []


def killed_with_guard(process: Doomed) -> None:
    process.kill_guard()
    process.kill()


@pytest.mark.parametrize("build", BUILDS)
def test_F01_what_guard_and_owner_left_is_collected(outside: Namespace, build: str) -> None:
    before = said(*LOOKS)
    with doomed(_forwarding() + BUILDS[build]) as process:
        killed_with_guard(process)
        owner = process.journal.name.rpartition("-")[0]
    left = said(*NAMES)
    planned = netkit.gc(dry_run=True)
    assert said(*NAMES) == left
    found = netkit.gc()
    assert {each.outcome for each in found} == {"removed"}
    # A veth to a namespace that has ended may have gone by itself in between.
    assert {each.what for each in found} <= {each.what for each in planned}
    assert {each.what for each in planned if "veth" not in each.what} <= {each.what for each in found}
    assert {each.outcome for each in planned} == {"would be removed"}
    assert {each.owner for each in found} == {owner}
    wait_for_the_kernel(outside)
    assert said(*LOOKS) == before
    assert not any(said(f"pgrep -f '^{SLEEP}$'").values())
    assert netkit.gc() == []


@needs_iptables
def test_F01_a_rule_of_iptables_is_collected(outside: Namespace) -> None:
    listing = "iptables-legacy -w -t nat -S POSTROUTING"
    before = said(listing)
    with doomed('own(NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables"))') as process:
        killed_with_guard(process)
    assert said(listing) != before
    assert [each.outcome for each in netkit.gc()] == ["removed"]
    assert said(listing) == before


PUBLISHED = (
    'host.sysctl["net.ipv4.ip_forward"] = 1\n'
    'own(Bridge(host, "br-p", address="10.94.0.1/24"))\n'
    'own(host.publish(8080, to="10.94.0.2:80", backend="iptables"))'
)
FIREWALL = [
    "iptables-legacy -w -t nat -S", "iptables-legacy -w -t raw -S", "ip6tables-legacy -w -t nat -S"
]  # fmt: skip


@needs_iptables
def test_F01_ports_published_by_iptables_are_collected(outside: Namespace) -> None:
    forwarding = outside.sysctl["net.ipv4.ip_forward"]
    before = said(*FIREWALL)
    with doomed(PUBLISHED) as process:
        killed_with_guard(process)
    assert said(*FIREWALL) != before
    planned = netkit.gc(dry_run=True)
    assert said(*FIREWALL) != before
    assert any(str(each).startswith("iptables chains 'NETKIT-*-") for each in planned)
    assert {each.outcome for each in planned} == {"would be removed"}
    assert {each.outcome for each in netkit.gc()} == {"removed"}
    assert said(*FIREWALL) == before
    outside.sysctl["net.ipv4.ip_forward"] = forwarding


def test_the_living_are_left_in_peace(outside: Namespace) -> None:
    program = BUILDS["all of it"] + '\nown(host.rules).add(src="10.93.0.0/16", table=191)'
    with doomed(_forwarding() + program) as process:
        before = said(*NAMES)
        assert netkit.gc() == []
        assert said(*NAMES) == before
        process.kill_guard()  # its owner lives, and holds the journal
        assert netkit.gc() == []
        assert said(*NAMES) == before
        process.kill()
    assert netkit.gc()
    wait_for_the_kernel(outside)


def test_F43_what_took_the_place_of_ours_is_left_alone_and_said_so(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a"))') as process:
        index = outside.links["br-a"].ifindex
        killed_with_guard(process)
    said(f"ip link del br-a; ip link add br-a index {index} type bridge")
    try:
        (found,) = netkit.gc()
        assert found.outcome == "left alone"
        assert "somebody else's bridge 'br-a'" in found.reason
        assert str(found) == f"bridge 'br-a' (left alone: {found.reason})"
        assert outside.links["br-a"].ifindex == index
        assert netkit.gc() == []  # it is said once
    finally:
        said("ip link del br-a")


LOOK_ALIKES = {
    "no alias, the same name": "",
    "an alias that only begins like one": "netkit: my own bridge",
    "a tag of another boot": "netkit:99999-aa:1:{pidns}:00000000:77",
    "a tag of another pid namespace": "netkit:99999-aa:1:1:{boot}:77",
    "a tag with another group": "netkit:99999-aa:1:{pidns}:{boot}:78",
    "a tag of a living process": "netkit:{pid}-aa:{start}:{pidns}:{boot}:77",
}


@pytest.mark.parametrize("alias", LOOK_ALIKES)
def test_F70_look_alikes_are_not_touched(outside: Namespace, alias: str) -> None:
    said(f"ip link add br-a type bridge; ip link set br-a group 77 alias '{_tag(LOOK_ALIKES[alias])}'")
    try:
        assert netkit.gc() == []
        assert "br-a" in outside.links
    finally:
        said("ip link del br-a")


def _tag(form: str) -> str:
    from netkit._system.journal import boot, pid_namespace, start_time

    return form.format(boot=boot()[:8], pidns=pid_namespace(), pid=os.getpid(), start=start_time())


def test_F70_a_pid_that_was_given_to_a_new_process_is_not_the_old_one(outside: Namespace) -> None:
    """By its tag, for the journal is lost: the pid lives, but it began at another time."""
    form = "netkit:{pid}-aa:1:{pidns}:{boot}:77"
    said(f"ip link add br-a type bridge; ip link set br-a group 77 alias '{_tag(form)}'")
    (found,) = netkit.gc()
    assert (found.what, found.outcome) == ("bridge 'br-a', by its alias", "removed")
    assert "br-a" not in outside.links


def test_a_link_whose_journal_is_lost_is_known_by_its_tag(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a")), own(VethPair(host, host, name="va", peer_name="vb"))') as process:
        killed_with_guard(process)
        process.journal.unlink()
    found = netkit.gc()
    assert {each.outcome for each in found} == {"removed"}
    assert {"br-a", "va", "vb"}.isdisjoint(link.name for link in outside.links)


def test_what_another_collector_removes_meanwhile_is_told_of_by_that_one(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen it; with a pair whoever removes one end has removed both."""
    from netkit._lifecycle import tags

    tag = _tag("netkit:99999-aa:1:{pidns}:{boot}:77")
    said("ip link add br-a type bridge; ip link add va type veth peer name vb")
    for name in ("br-a", "va", "vb"):
        said(f"ip link set {name} group 77 alias '{tag}'")

    def slowly(index: int) -> object:
        said("ip link del br-a")  # fails the second time
        return real(index)

    real = tags.delete_link
    monkeypatch.setattr(tags, "delete_link", slowly)
    assert sorted((each.what, each.outcome) for each in netkit.gc()) == [
        ("veth 'va', by its alias", "removed"),
        ("veth 'vb', by its alias", "removed"),
    ]


def test_dangling_names_are_removed_and_those_of_others_stay(outside: Namespace) -> None:
    directory = Path("/run/netns")
    directory.mkdir(exist_ok=True)
    (directory / "ours").symlink_to("/proc/4000000/fd/612")
    (directory / "docker").symlink_to("/proc/4000000/ns/net")
    (directory / "low").symlink_to("/proc/4000000/fd/3")
    (directory / "elsewhere").symlink_to("/nowhere")
    (directory / "empty").touch()
    try:
        assert [each.what for each in netkit.gc()] == ["namespace 'ours', which leads nowhere"]
        assert set(os.listdir(directory)) == {"docker", "low", "elsewhere", "empty"}
    finally:
        for name in os.listdir(directory):
            (directory / name).unlink()


def test_a_journal_of_another_boot_is_removed_and_nothing_else(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a"))') as process:
        killed_with_guard(process)
        first, _, rest = process.journal.read_bytes().partition(b"\n")
    process.journal.write_bytes(first.rpartition(b" ")[0] + b" another-boot\n" + rest)
    said("ip link set br-a alias ''")
    try:
        assert netkit.gc() == []
        assert "br-a" in outside.links
        assert not process.journal.exists()
    finally:
        said("ip link del br-a")


def test_what_is_no_journal_is_told_of_and_stays_what_it_is(outside: Namespace) -> None:
    directory = Path("/run/netkit/journal")
    with doomed('own(Bridge(host, "br-a"))') as process:
        killed_with_guard(process)
    with process.journal.open("ab") as file:
        file.write(b"+9 name 4:1:1 ../../etc/passwd %\n+x\n+10 everything\n")
    found = {each.outcome: each for each in netkit.gc() if each.outcome != "removed"}
    assert "failed" in found
    assert process.journal.exists()
    process.journal.unlink()
    (directory / "link").symlink_to("/etc/passwd")
    assert netkit.gc() == []
    (directory / "link").unlink()


@pytest.mark.parametrize("guarded", [True, False])
def test_a_create_that_meets_a_dead_process_goes_on(outside: Namespace, guarded: bool) -> None:
    before = said(*LOOKS)
    program = """
own(Bridge(host, "br-a")), own(VethPair(host, host, name="va", peer_name="vb"))
own(Namespace("one")), own(Namespace("two", persistent=True))"""
    with doomed(program) as process:
        if not guarded:
            process.kill_guard()
        process._child.kill()
        process._child.wait()
        with (
            Namespace("two", persistent=True),
            Namespace("one"),
            Bridge(outside, "br-a"),
            VethPair(outside, outside, name="va", peer_name="vb"),
        ):
            assert "br-a" in outside.links
        process.await_guard()
    assert netkit.gc() == []
    netkit.shutdown()
    assert said(*LOOKS) == before


def test_a_create_that_meets_the_living_is_refused(outside: Namespace) -> None:
    with doomed('own(Bridge(host, "br-a")), own(Namespace("two", persistent=True))') as process:
        with pytest.raises(netkit.ExistsError):
            Bridge(outside, "br-a").create()
        with pytest.raises(netkit.ExistsError):
            Namespace("two").create()
        assert "br-a" in outside.links
        process.kill()
    said("ip link add br-a type bridge")
    with pytest.raises(netkit.ExistsError):
        Bridge(outside, "br-a").create()
    said("ip link del br-a")


def test_the_command_says_what_it_does(outside: Namespace) -> None:
    command = [sys.executable, "-m", "netkit", "gc"]

    def run(*words: str) -> str:
        return subprocess.run([*command, *words], check=True, capture_output=True, text=True).stdout

    assert run() == "nothing is left\n"
    assert run("--json") == "[]\n"
    with doomed('own(Bridge(host, "br-a"))') as process:
        killed_with_guard(process)
        owner = process.journal.name.rpartition("-")[0]
    assert run("--dry-run") == f"would be removed: bridge 'br-a' of {owner}\n"
    assert json.loads(run("--dry-run", "--json")) == [
        {"what": "bridge 'br-a'", "outcome": "would be removed", "reason": "", "owner": owner}
    ]
    assert "br-a" in outside.links
    assert run() == f"removed: bridge 'br-a' of {owner}\n"
    assert "br-a" not in outside.links


def test_rules_neighbours_and_addresses_are_scopes_when_entered(outside: Namespace) -> None:
    looks = (*LOOKS, "ip neighbour show nud permanent", "ip -4 address show lo")
    before = said(*looks)
    program = """
own(Bridge(host, "br-a", address="10.91.0.1/24"))
own(host.rules).add(src="10.93.0.0/16", table=191)
own(host.neighbours).add("10.91.0.9", mac="02:00:00:00:00:09", dev="br-a")
own(host.links["lo"].addresses).add("10.94.0.1/32")"""
    with doomed(program) as process:
        assert said(*looks) != before
        process.kill()
    assert said(*looks) == before
    with outside.rules as rules, outside.links["lo"].addresses as addresses:
        kept = rules.add(src="10.93.0.0/16", table=191)
        addresses.add("10.94.0.1/32")
        rules.delete(kept)
        rules.add(src="10.95.0.0/16", table=191)
    netkit.shutdown()
    assert said(*looks) == before


def test_F70_a_name_whose_maker_is_dead_is_not_followed_wherever_it_leads(outside: Namespace) -> None:
    """As if its pid and descriptor had come back in another process, which has a namespace there."""
    with doomed('own(Namespace("box"))') as process:
        killed_with_guard(process)
        target = os.readlink("/run/netns/box")
    with Namespace() as other:
        alive = f"/proc/{os.getpid()}/fd/{other.fileno()}"
        said(f"ln -sfn {alive} /run/netns/box")
        text = process.journal.read_text().replace(target, alive)
        process.journal.write_text(text)
        with pytest.raises(netkit.NotFoundError, match="stale"):
            Namespace.open("box")
        assert [each.what for each in netkit.gc()] == ["namespace 'box'"]
        assert other.exists
    assert not os.path.lexists("/run/netns/box")


def test_several_collectors_at_once_remove_everything_once(outside: Namespace) -> None:
    before = said(*LOOKS)
    for _ in range(3):
        with doomed(_forwarding() + BUILDS["all of it"]) as process:
            killed_with_guard(process)
        command = [sys.executable, "-m", "netkit", "gc", "--json"]
        readers = [subprocess.Popen([*command, "--dry-run"], stdout=subprocess.DEVNULL) for _ in range(2)]
        collectors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        told = [json.loads(each.communicate(timeout=LONG)[0]) for each in collectors]
        assert [each.wait() for each in (*readers, *collectors)] == [0] * 5
        outcomes = [(each["what"], each["outcome"]) for found in told for each in found]
        rest = [(each.what, each.outcome) for each in netkit.gc()]  # of a journal that a reader held
        assert {outcome for _, outcome in outcomes + rest} == {"removed"}
        assert len(outcomes + rest) == len(set(outcomes + rest))
        wait_for_the_kernel(outside)
        assert said(*LOOKS) == before


def test_an_address_and_a_neighbour_of_others_stay(outside: Namespace) -> None:
    """Ours were removed by somebody who then added the same for himself."""
    looks = ("ip -4 address show lo", "ip neighbour show nud permanent", "ip rule")
    with doomed("""
own(Bridge(host, "br-a", address="10.91.0.1/24")).detach()
own(host.links["lo"].addresses).add("10.94.0.1/32")
own(host.neighbours).add("10.91.0.9", mac="02:00:00:00:00:09", dev="br-a")
own(host.rules).add(src="10.93.0.0/16", table=191, priority=77)""") as process:
        said("ip address del 10.94.0.1/32 dev lo", "ip address add 10.94.0.1/32 dev lo")
        said("ip neighbour del 10.91.0.9 dev br-a")
        said("ip neighbour add 10.91.0.9 lladdr 02:00:00:00:00:09 dev br-a nud permanent")
        said("ip rule del priority 77", "ip rule add from 10.93.0.0/16 lookup 191 priority 77")
        before = said(*looks)
        assert all(text in "".join(before.values()) for text in ("10.94.0.1", "10.91.0.9", "10.93.0.0"))
        process.kill()
    assert said(*looks) == before
    said("ip address del 10.94.0.1/32 dev lo", "ip link del br-a", "ip rule del priority 77")


def test_an_address_whose_link_is_gone_is_gone(outside: Namespace) -> None:
    with doomed("""
own(Bridge(host, "br-a")).detach()
own(host.links["br-a"].addresses).add("10.94.0.1/32")""") as process:
        said("ip link del br-a")
        process.kill()
        assert not process.journal.exists()


def test_a_route_of_another_metric_stays(outside: Namespace) -> None:
    """Of another netkit: it has our protocol number, too."""
    with doomed('own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")') as process:
        said("ip route del blackhole 10.92.0.0/16 table 191")
        said("ip route add blackhole 10.92.0.0/16 table 191 metric 50 proto 110")
        process.kill()
        assert not process.journal.exists()
    listed = said("ip route show table 191")["ip route show table 191"]
    assert listed.split() == "blackhole 10.92.0.0/16 proto 110 metric 50".split()
    said("ip route flush table 191")


WRITTEN = [  # what a dead process had added, and how somebody else takes it away
    ('RouteTable(host, 191)', 'add("10.92.0.0/16", type="blackhole")', "ip route flush table 191"),
    ('RouteTable(host, 191)', 'add("10.92.0.0/16", type="blackhole", metric=7)', "ip route flush table 191"),
    ('RouteTable(host, 300)', 'add("fd92::/64", type="prohibit")', "ip -6 route flush table 300"),
    ('RouteTable(host, 300)', 'add("default", type="unreachable", family=6)', "ip -6 route flush table 300"),
    ('host.rules', 'add(src="10.92.0.0/16", table=191, priority=901)', "ip rule del priority 901"),
    ('host.rules', 'add(dst="fd92::/64", iif="lo", table=300, priority=902)', "ip -6 rule del priority 902"),
    ('host.rules', 'add(fwmark=25600, table=191, priority=903)', "ip rule del priority 903"),
]  # fmt: skip


@pytest.mark.parametrize(("holder", "added", "taken"), WRITTEN)
def test_a_dry_run_looks_whether_it_is_still_there(
    outside: Namespace, holder: str, added: str, taken: str
) -> None:
    with doomed(f"own({holder}).{added}") as process:
        killed_with_guard(process)
    look = "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule"
    try:
        before = said(look)
        assert [each.outcome for each in netkit.gc(dry_run=True)] == ["would be removed"]
        assert said(look) == before
    finally:
        said(taken)
    assert netkit.gc(dry_run=True) == []
    assert netkit.gc() == []


def test_a_dry_run_knows_a_route_with_a_gateway_from_others(outside: Namespace) -> None:
    with Bridge(outside, "br-r", address=["10.93.0.1/24", "fd93::1/64"]):
        routes = """
table = own(RouteTable(host))
table.add("10.94.0.0/16", via="10.93.0.2", metric=256)
table.add("10.95.0.0/16", via="10.93.0.2", dev="br-r")
table.add("fd94::/64", via="fd93::2")
table.add("10.96.0.0/16", nexthops=[NextHop(via="10.93.0.2"), NextHop(via="10.93.0.3", weight=3)])"""
        with doomed(routes) as process:
            killed_with_guard(process)
        assert [each.outcome for each in netkit.gc(dry_run=True)] == ["would be removed"] * 4
        said("ip route del 10.94.0.0/16", "ip route add 10.94.0.0/16 via 10.93.0.2 metric 256")  # of "boot"
        said("ip -6 route del fd94::/64", "ip -6 route add fd94::/64 via fd93::3 proto 110")
        assert {each.what.split()[1] for each in netkit.gc(dry_run=True)} == {"10.95.0.0/16", "10.96.0.0/16"}
        assert len(netkit.gc()) == 2
        assert "10.94.0.0/16 via" in said("ip route")["ip route"]
        assert "fd94::/64 via fd93::3" in said("ip -6 route")["ip -6 route"]


def test_a_create_does_not_wait_for_ever_for_a_guard_that_is_stopped(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A freezer stops whole groups of processes; the lock is then held by nobody who works."""
    monkeypatch.setattr("netkit._lifecycle.claims._PATIENCE", 0.2)
    with doomed('own(Bridge(host, "br-a"))') as process:
        os.kill(process.guard, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        process._child.wait()
        with pytest.raises(netkit.ExistsError):
            Bridge(outside, "br-a").create()
        assert netkit.gc() == [], "it is the guard's"
        os.kill(process.guard, signal.SIGCONT)
        process.await_guard()
    with Bridge(outside, "br-a"):
        pass


def test_a_program_that_becomes_another_one_keeps_what_its_guard_knows(outside: Namespace) -> None:
    """exec: the process lives on, and the guard waits for its end."""
    with doomed("""
own(Bridge(host, "br-a"))
from netkit._system.journal import journal
import os
after = "import sys; print(sys.argv[1], '', flush=True); sys.stdin.read()"
os.execv(sys.executable, [sys.executable, "-c", after, str(journal.guard_pid)])""") as process:
        assert "br-a" in outside.links
        assert netkit.gc() == []
        process.kill()
    assert "br-a" not in outside.links
