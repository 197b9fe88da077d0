"""Namespace: made, borrowed, identified and ended, against `ip`, nsenter(1) and /proc."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netkit import AccessError, KernelError, Namespace, NotFoundError, SpecError, StateError
from tests.harness import place
from tests.harness.calls import outcome
from tests.harness.here import HERE, descriptors, identity, inode
from tests.harness.leaks import tasks_in_time
from tests.harness.oracle import Events, link, names, run_in
from tests.harness.patience import AT_ONCE, LONG, in_time

IFF_UP = "UP"
PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


@pytest.fixture
def stranger() -> Iterator[str]:
    """A namespace that `ip netns add` made; its name."""
    subprocess.run(place.there("ip", "netns", "add", "stranger"), check=True)
    yield "stranger"
    subprocess.run(place.there("ip", "netns", "delete", "stranger"), check=True)


# -- made by us --------------------------------------------------------------------


def test_nothing_exists_before_the_block() -> None:
    before = descriptors()
    ns = Namespace("early")
    assert descriptors() == before
    assert place.names() == []
    assert not ns.exists
    uses: list[Callable[[], object]] = [
        ns.fileno, ns.delete, ns.detach, lambda: ns.path, lambda: list(ns.links),
        lambda: ns.run(["true"]), lambda: ns.call(int), lambda: ns.socket(), lambda: ns.ping("127.0.0.1"),
        lambda: ns.sysctl["net.ipv4.ip_forward"], lambda: ns.entered(), ns.pyroute2,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(StateError, match="not created yet"):
            use()
    with pytest.raises(NotFoundError, match="'early'"):
        ns.adopt()  # it would take over one of this name


def test_an_anonymous_one() -> None:
    with Namespace() as ns:
        assert ns.exists
        assert ns.name is None
        assert ns.path == f"/proc/{os.getpid()}/fd/{ns.fileno()}"
        assert identity(ns.fileno()) != identity(HERE)
        assert run_in(ns, "readlink", "/proc/self/ns/net").strip() == inode(ns)
        assert identity(ns.path) == identity(ns.fileno())
        assert place.names() == []
        assert os.get_inheritable(ns.fileno()) is False
        assert names(ns) == ["lo"]
    assert not ns.exists
    with pytest.raises(StateError, match="deleted"):
        ns.fileno()


def test_lo_is_up_in_ours() -> None:
    with Namespace() as ns:
        assert IFF_UP in link(ns, "lo")["flags"]
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with ns.socket(family) as server, ns.socket(family) as client:
                server.bind((address, 0))
                server.listen()
                client.settimeout(LONG)
                client.connect(server.getsockname())


def test_ipv6_addresses_are_usable_at_once() -> None:
    """An address that somebody else adds, with duplicate address detection left on."""
    in_time(_an_address_is_usable)


def _an_address_is_usable() -> None:
    with Namespace() as ns:
        run_in(ns, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run_in(ns, "ip", "link", "set", "v1", "up")
        run_in(ns, "ip", "link", "set", "v0", "up")
        run_in(ns, "ip", "address", "add", "fd00::1/64", "dev", "v0")
        with ns.socket(socket.AF_INET6) as server:
            # The kernel ends what there is of the detection in a work queue; with it, that takes 1 to 2 s.
            deadline = time.monotonic() + AT_ONCE
            while outcome(lambda: server.bind(("fd00::1", 0))) is not None:  # EADDRNOTAVAIL while tentative
                assert time.monotonic() < deadline
                os.sched_yield()


def test_it_ends_with_the_block(host: Namespace) -> None:
    """A veth that netkit knows nothing of loses its other end."""
    with Events(host) as events:
        with Namespace("ending") as ns:
            run_in(host, *"ip link add v0 type veth peer name v1 netns ending".split())
            assert "v1" in names(ns)
        events.wait_until(lambda: names(host) == ["lo"])


def test_it_ends_when_the_body_raises() -> None:
    before = descriptors()
    ns = Namespace("ending")
    with pytest.raises(ZeroDivisionError) as caught, ns:
        raise ZeroDivisionError("body")
    assert not hasattr(caught.value, "__notes__")
    assert not ns.exists
    assert descriptors() == before
    assert place.names() == []


def test_create_delete_create() -> None:
    ns = Namespace()
    assert ns.create() is ns
    with pytest.raises(StateError, match="already"):
        ns.create()
    held = os.dup(ns.fileno())  # or the next one might get the same inode
    try:
        ns.delete()
        with pytest.raises(StateError, match="deleted"):
            ns.delete()
        ns.create()
        assert identity(ns.fileno()) != identity(held)
        assert names(ns) == ["lo"]
        ns.delete()
    finally:
        os.close(held)


def test_with_after_create_deletes() -> None:
    with Namespace().create() as ns:
        assert ns.exists
    assert not ns.exists


def test_an_owned_one_is_deleted_not_closed() -> None:
    with Namespace() as ns:
        with pytest.raises(StateError, match=r"delete\(\)"):
            ns.close()
        assert names(ns) == ["lo"]


def test_an_anonymous_one_is_neither_detached_nor_adopted() -> None:
    with Namespace() as ns:
        with pytest.raises(StateError, match="anonymous"):
            ns.detach()
        assert ns.exists
        with (
            Namespace.from_fd(ns.fileno()) as borrowed,
            pytest.raises(StateError, match="owned in this program"),
        ):
            borrowed.adopt()
        still_open = os.dup(ns.fileno())
    with Namespace.from_fd(still_open) as borrowed, pytest.raises(StateError, match="has no name"):
        borrowed.adopt()
    os.close(still_open)


@pytest.mark.parametrize("value", [1, b"red", True, 1.5, ["red"]])
def test_a_name_is_a_str(value: object) -> None:
    with pytest.raises(SpecError):
        Namespace(value)  # type: ignore[arg-type]


def test_bad_combinations_and_keywords() -> None:
    with pytest.raises(SpecError, match="needs a name"):
        Namespace(persistent=True)
    with pytest.raises(SpecError, match="persistent"):
        Namespace("red", persistent=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="presistent"):
        Namespace("red", presistent=True)  # type: ignore[call-arg]


# -- what an idle one costs --------------------------------------------------------


@pytest.mark.parametrize(("named", "cost"), [(False, 2), (True, 3)])
def test_an_idle_namespace_holds_two_descriptors(named: bool, cost: int) -> None:
    """Itself and its rtnetlink socket; a name adds the descriptor that its symlink leads to."""
    before, threads = len(descriptors()), len(os.listdir("/proc/self/task"))
    made = [Namespace(f"idle{number}" if named else None).create() for number in range(20)]
    try:
        assert len(descriptors()) - before <= cost * len(made)
        assert tasks_in_time(threads) <= threads
    finally:
        for ns in made:
            ns.delete()
    assert len(descriptors()) == before


def test_a_borrowed_one_holds_one_descriptor(host: Namespace) -> None:
    with subprocess.Popen(place.there("unshare", "-n", "sh", "-c", "echo; read x"), **PIPES) as child:
        child.stdout.read(1)
        before = len(descriptors())
        pid = place.main_of(child.pid)
        handles = [Namespace.from_pid(pid) for _ in range(10)]
        assert len(descriptors()) == before + 1  # however many handles there are
        handles[0].close()
        assert names(handles[1]) == ["lo"]
        for handle in handles[1:]:
            handle.close()
        assert len(descriptors()) == before
        child.communicate("x\n")


def test_two_hundred_cycles_leave_nothing() -> None:
    def children() -> list[str]:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

    files, threads, born = len(descriptors()), len(os.listdir("/proc/self/task")), children()
    for number in range(200):
        with Namespace(f"cycle{number % 2}" if number % 3 else None) as ns:
            list(ns.links)
            ns.socket().close()
            if number % 50 == 0:
                ns.run(["true"], check=True)
        assert len(descriptors()) == files
        assert tasks_in_time(threads) <= threads
        assert children() == born


# -- borrowed ----------------------------------------------------------------------


def test_current_is_the_calling_threads_own(host: Namespace) -> None:
    with Namespace.current() as here:
        assert identity(here.fileno()) == identity(HERE)
        assert here.name is None
        assert names(here) == [item.name for item in here.links]
    if place.refuses_to_enter(host):
        return
    with host.entered(), Namespace.current() as inside:
        assert identity(inside.fileno()) == identity(host.fileno())
    assert identity(HERE) != identity(host.fileno())

    found: list[tuple[int, int]] = []

    def elsewhere() -> None:
        with host.entered(), Namespace.current() as inside:
            found.append(identity(inside.fileno()))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [identity(host.fileno())]


def test_what_is_borrowed_is_never_ended(stranger: str) -> None:
    for ns in (Namespace.current(), Namespace.open(stranger)):
        for verb in (ns.delete, ns.create, ns.detach):
            with pytest.raises(StateError, match="borrowed"):
                verb()
        with ns:
            assert ns.exists
            assert "lo" in names(ns)
        assert not ns.exists
        with pytest.raises(StateError):
            list(ns.links)
        ns.close()  # a second time does nothing
    subprocess.run(place.there("ip", "netns", "exec", stranger, "true"), check=True)


def test_lo_is_left_alone_in_borrowed_ones(stranger: str) -> None:
    sysctl = ("sysctl", "-n", "net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad")
    with Namespace.open(stranger) as ns:
        before = run_in(ns, *sysctl)
        list(ns.links)
        ns.run(["true"], check=True)
        assert IFF_UP not in link(ns, "lo")["flags"]
        assert run_in(ns, *sysctl) == before


def test_open_by_name_and_by_path(stranger: str) -> None:
    path = str(place.path(f"/run/netns/{stranger}"))
    named = stranger if path.startswith("/run/netns/") else None  # without root it is elsewhere
    for given, name in ((stranger, stranger), (path, named), (Path(path), named)):
        with Namespace.open(given) as ns:
            assert identity(ns.fileno()) == identity(path)
            assert ns.path == path
            assert ns.name == name
    with Namespace.open("/proc/self/ns/net") as ns:
        assert identity(ns.fileno()) == identity("/proc/self/ns/net")


def test_open_of_ours(host: Namespace) -> None:
    with Namespace("red") as red, Namespace.open("red") as again:
        assert identity(again.fileno()) == identity(red.fileno())
        with pytest.raises(StateError, match="borrowed"):
            again.delete()
        run_in(red, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        assert sorted(item.name for item in again.links) == ["lo", "v0", "v1"]
    with pytest.raises(StateError):
        list(again.links)


def test_of_a_process() -> None:
    with subprocess.Popen(place.there("unshare", "-n", "sh", "-c", "echo; read x"), **PIPES) as child:
        child.stdout.read(1)
        pid = place.main_of(child.pid)
        with Namespace.from_pid(pid) as ns:
            assert identity(ns.fileno()) == identity(f"/proc/{pid}/ns/net") != identity(HERE)
            child.communicate("x\n")
            assert names(ns) == ["lo"]  # the handle keeps it
    with pytest.raises(NotFoundError, match=str(pid)):
        Namespace.from_pid(pid)


@pytest.mark.parametrize("pid", [0, -1, True, 1.0, "1", None, 2**31])
def test_what_is_no_pid(pid: object) -> None:
    with pytest.raises(SpecError, match="pid"):
        Namespace.from_pid(pid)  # type: ignore[arg-type]


def test_a_descriptor_is_duplicated(stranger: str) -> None:
    fd = os.open(place.path(f"/run/netns/{stranger}"), os.O_RDONLY)
    ns = Namespace.from_fd(fd)
    assert ns.fileno() != fd
    ns.close()
    os.fstat(fd)  # the caller's own is still open
    ns = Namespace.from_fd(fd)
    os.close(fd)
    with ns:
        assert identity(ns.fileno()) == identity(str(place.path(f"/run/netns/{stranger}")))
        assert os.get_inheritable(ns.fileno()) is False


@pytest.mark.parametrize("path", ["/dev/null", "/proc/self/ns/mnt", "/etc/passwd", "/"])
def test_what_is_no_network_namespace(path: str) -> None:
    before = descriptors()
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(SpecError, match="no network namespace"):
        Namespace.from_fd(fd)
    os.close(fd)
    with pytest.raises(SpecError, match="no network namespace"):
        Namespace.open(path)
    for bad in (-1, True, "3", None):
        with pytest.raises(SpecError):
            Namespace.from_fd(bad)  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="EBADF"):
        Namespace.from_fd(fd)
    assert descriptors() == before


def test_handles_are_of_one_namespace(host: Namespace) -> None:
    """Each has a life of its own; what they name is one thing."""
    with Namespace.from_fd(host.fileno()) as first:
        second = Namespace.from_fd(first.fileno())
        second.close()
        assert names(first) == ["lo"]
        assert [item.ifindex for item in first.links] == [1]
    assert [item.ifindex for item in host.links] == [1]


def test_a_borrowed_handle_keeps_what_its_owner_deleted() -> None:
    with Namespace() as ns:
        handle = Namespace.from_fd(ns.fileno())
    with handle:
        assert names(handle) == ["lo"]
        handle.run(["true"], check=True)


# -- who is asked ------------------------------------------------------------------


def test_a_links_netns_is_the_identical_object(host: Namespace) -> None:
    assert host.links["lo"].netns is host
    assert next(iter(host.links)).netns is host
    with host.connect(host, name="a", peer_name="b") as veth:
        assert veth.link.netns is host
        assert veth.link.peer is not None
        assert veth.link.peer.netns is host


def test_a_missing_link_is_not_found_in_words(host: Namespace) -> None:
    with Namespace("red") as red, pytest.raises(NotFoundError, match=r"'eth9'.*namespace 'red'") as caught:
        red.links["eth9"]
    assert isinstance(caught.value, KeyError)
    assert caught.value.netns == "namespace 'red'"
    assert "'eth9'" in str(caught.value)
    assert host.links.get("eth9") is None
    assert "eth9" not in host.links
    assert "lo" in host.links


def test_F13_sockets_opened_on_use_are_in_the_right_namespace(host: Namespace) -> None:
    """F13: first used by a thread that is elsewhere."""
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    with Namespace() as other, Namespace.from_fd(host.fileno()) as handle:
        if not place.refuses_to_enter(other):
            with other.entered():
                assert sorted(item.name for item in handle.links) == ["lo", "v0", "v1"]
        assert sorted(other.call(lambda: [item.name for item in handle.links])) == ["lo", "v0", "v1"]
        assert [item.name for item in other.links] == ["lo"]


def test_it_shows_what_it_is(stranger: str) -> None:
    ns = Namespace("red")
    assert repr(ns) == "<Namespace 'red' (new)>"
    with ns:
        assert "'red'" in repr(ns)
    assert "deleted" in repr(ns)
    with Namespace.open(stranger) as other:
        assert "borrowed" in repr(other)
        assert "stranger" in repr(other)


# -- what the kernel refuses -------------------------------------------------------

REFUSED = """
import os
from netkit import KernelError, Namespace
before = sorted(os.listdir("/proc/self/fd"))
for name in (None, "red"):
    try:
        Namespace(name).create()
    except KernelError as error:
        print(type(error).__name__, error)
# The worker has started meanwhile, with one descriptor of its own.
assert len(os.listdir("/proc/self/fd")) <= len(before) + 1, os.listdir("/proc/self/fd")
assert not os.path.lexists("/run/netns/red")
"""


def test_F27_without_the_capability_it_is_named(host: Namespace) -> None:
    command = sys.executable, "-c", REFUSED
    said = run_in(host, "env", "NETKIT_ROOTLESS=0", "setpriv", "--bounding-set=-sys_admin", *command)
    for line in said.splitlines():
        assert line.startswith(AccessError.__name__)
        assert "CAP_SYS_ADMIN" in line
        assert "unshare" in line  # the way out
    assert len(said.splitlines()) == 2


def test_F38_the_limit_of_namespaces_is_named(host: Namespace) -> None:
    """F38: ENOSPC is no disk."""
    script = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$0" -c "$1"'
    said = run_in(host, "unshare", "-Ur", "sh", "-c", script, sys.executable, REFUSED)
    assert len(said.splitlines()) == 2
    assert said.count("user.max_net_namespaces") == 2
    assert said.count("ENOSPC") == 2


def test_nothing_heavy_is_loaded_on_the_way_to_the_first_links(host: Namespace) -> None:
    """And nothing on the worker thread, which threading would take for the main one."""
    code = """
import sys
import netkit
heavy = "contextlib enum functools ipaddress selectors signal socket subprocess threading"
host = netkit.Namespace.current()
addresses = ["10.0.0.1/24", "fd00::1/64"]
with netkit.Namespace("first") as first, netkit.Bridge(host, "br0", address=addresses) as bridge:
    veth = bridge.connect(first, name="v0", peer_name="eth0", peer_address="10.0.0.2/24")
    assert first.links["eth0"].mtu == 1500
    assert "10.0.0.2/24" in list(map(str, veth.peer.addresses))
    print(*set(heavy.split()) & set(sys.modules))
    assert first.sysctl["net.ipv4.ip_forward"] == "0"
    first.socket().close()
    assert first.ping("10.0.0.1").received == 1
import threading
assert threading.main_thread() is threading.current_thread()
"""
    root = Path(__file__).parents[2]
    bare = [sys.executable, "-S", "-E", "-c"]  # -S: the .pth files of site packages import what they like
    assert run_in(host, *bare, f"import sys; sys.path.insert(0, {str(root)!r})\n{code}") == "\n"
