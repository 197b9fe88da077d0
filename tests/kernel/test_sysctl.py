"""Sysctls of a namespace: read, set and overridden, against what cat(1) reads inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from netkit import KernelError, Namespace, NotFoundError, Scope, SpecError, StateError, TeardownError
from tests.harness import place
from tests.harness.oracle import run_in

FORWARD = "net.ipv4.ip_forward"
ALL_FORWARDING = "net.ipv4.conf.all.forwarding"
TTL = "net.ipv4.ip_default_ttl"


def said(ns: Namespace, key: str) -> str:
    return run_in(ns, "cat", f"/proc/sys/{key.replace('.', '/')}").strip().replace("\t", " ")


def everything(ns: Namespace) -> dict[str, str]:
    """The IPv4 and IPv6 sysctls of the namespace."""
    lines = run_in(ns, "sh", "-c", "cd /proc/sys && grep -rs . net/ipv4 net/ipv6 || true").splitlines()
    pairs = [line.partition(":") for line in lines]
    return {
        path: value for path, _, value in pairs if "stable_secret" not in path and "fastopen_key" not in path
    }


@contextmanager
def read_only() -> Iterator[None]:
    flags = "bind,ro,nosuid,nodev,noexec"  # the last three may not be left out in a user namespace
    subprocess.run(place.there("mount", "-o", flags, "/proc/sys", "/proc/sys"), check=True)
    try:
        yield
    finally:
        subprocess.run(place.there("umount", "/proc/sys"), check=True)


# -- reading and writing -----------------------------------------------------------


def test_F36_values_are_those_inside(host: Namespace) -> None:
    with Namespace() as box:
        assert box.sysctl[FORWARD] == said(box, FORWARD) == "0"
        box.sysctl[FORWARD] = 1
        assert box.sysctl[FORWARD] == said(box, FORWARD) == "1"
        assert said(host, FORWARD) == "0"  # another namespace is not touched
        box.sysctl[FORWARD] = "0"
        assert said(box, FORWARD) == "0"


def test_what_is_read_is_a_fresh_read(host: Namespace) -> None:
    run_in(host, "sysctl", "-qw", f"{TTL}=77")
    assert host.sysctl[TTL] == "77"
    run_in(host, "sysctl", "-qw", f"{TTL}=78")
    assert host.sysctl[TTL] == "78"


def test_assignment_is_not_undone(host: Namespace) -> None:
    with Scope(), Namespace.from_fd(host.fileno()) as handle:
        handle.sysctl[TTL] = 55
    assert said(host, TTL) == "55"


def test_values_of_several_words(host: Namespace) -> None:
    host.sysctl["net.ipv4.ip_local_port_range"] = "20000 30000"
    assert host.sysctl["net.ipv4.ip_local_port_range"].split() == ["20000", "30000"]
    assert said(host, "net.ipv4.ip_local_port_range").split() == ["20000", "30000"]


def test_membership_and_get(host: Namespace) -> None:
    assert FORWARD in host.sysctl
    assert "net.ipv4.nope" not in host.sysctl
    assert "net.ipv4.conf" not in host.sysctl  # a directory
    assert 3 not in host.sysctl
    assert host.sysctl.get("net.ipv4.nope") is None
    assert host.sysctl.get("net.ipv4.nope", "7") == "7"
    assert host.sysctl.get(FORWARD) == "0"
    with pytest.raises(TypeError, match="not iterable"):
        list(host.sysctl)  # type: ignore[call-overload]


def test_a_missing_key_is_not_found(host: Namespace) -> None:
    uses: list[Callable[[], object]] = [
        lambda: host.sysctl["net.ipv4.nope"],
        lambda: host.sysctl.__setitem__("net.ipv4.nope", 1),
        lambda: host.sysctl.override("net.ipv4.nope", 1).create(),
        lambda: host.sysctl["net.ipv4.conf.eth9.forwarding"],
        lambda: host.sysctl["net.ipv4"],
    ]
    for use in uses:
        with pytest.raises(NotFoundError, match=r"net\.ipv4.* in an anonymous namespace: No such") as caught:
            use()
        assert isinstance(caught.value, KeyError)
        assert caught.value.netns == "an anonymous namespace"


def test_device_names_with_dots(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "eth0.100", "type", "veth", "peer", "name", "p0")
    path = "net/ipv4/conf/eth0.100/forwarding"
    for key in (path, "net.ipv4.conf.eth0/100.forwarding"):
        host.sysctl[key] = 1
        assert run_in(host, "cat", f"/proc/sys/{path}") == "1\n"
        assert host.sysctl[key] == "1"
        host.sysctl[key] = 0
        with host.sysctl.override(key, 1):
            assert run_in(host, "cat", f"/proc/sys/{path}") == "1\n"
        assert run_in(host, "cat", f"/proc/sys/{path}") == "0\n"


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "/",
        "..",
        "net..ipv4",
        "../../etc/passwd",
        "/etc/passwd",
        "net/../../etc",
        "a b",
        "a\0",
        3,
        "kernel.hostname",
    ],
)
def test_hostile_keys(host: Namespace, key: Any) -> None:
    uses: list[Callable[[], object]] = [
        lambda: host.sysctl[key],
        lambda: host.sysctl.__setitem__(key, 1),
        lambda: host.sysctl.override(key, 1),
    ]
    for use in uses:
        with pytest.raises(SpecError, match="sysctl key"):
            use()


@pytest.mark.parametrize("value", [1.5, None, b"1", ["1"], "1\n2", "a\0b"])
def test_hostile_values(host: Namespace, value: Any) -> None:
    with pytest.raises(SpecError, match="sysctl value"):
        host.sysctl[FORWARD] = value
    with pytest.raises(SpecError, match="sysctl value"):
        host.sysctl.override(FORWARD, value)
    assert said(host, FORWARD) == "0"


def test_a_refused_value_says_what_it_is(host: Namespace) -> None:
    with pytest.raises(KernelError, match=r"ip_default_ttl to 'many'.*EINVAL.*It is '64'"):
        host.sysctl[TTL] = "many"
    with pytest.raises(KernelError, match=r"ip_default_ttl to '0'.*EINVAL"):
        host.sysctl.override(TTL, 0).create()
    assert said(host, TTL) == "64"


def test_F69_read_only_names_wanted_and_present_value(host: Namespace) -> None:
    with read_only():
        host.sysctl[TTL] = 64  # as it is: fine
        with pytest.raises(KernelError, match=r"ip_default_ttl to '65'.*EROFS.*It is '64'"):
            host.sysctl[TTL] = 65


def test_a_refused_override_goes_by_the_key_it_was_given(host: Namespace) -> None:
    # ip_forward and conf.all.forwarding are one value, counted under one name.
    with read_only(), pytest.raises(KernelError, match=r"net.ipv4.ip_forward to '1'.*EROFS.*It is '0'"):
        host.sysctl.override("net.ipv4.ip_forward", 1).create()


# -- overriding --------------------------------------------------------------------


def test_one_of_several_words_exists(host: Namespace) -> None:
    with host.sysctl.override("net.ipv4.ip_local_port_range", "20000 30000") as override:
        assert host.sysctl["net.ipv4.ip_local_port_range"] == "20000\t30000"
        assert override.exists
    assert not override.exists


def test_an_override_comes_back(host: Namespace) -> None:
    before = everything(host)
    override = host.sysctl.override(TTL, 99)
    assert said(host, TTL) == "64"  # nothing before create
    with override as same:
        assert same is override
        assert override.key == TTL
        assert override.exists
        assert said(host, TTL) == "99"
    assert everything(host) == before


def test_it_comes_back_after_an_exception(host: Namespace) -> None:
    with pytest.raises(ZeroDivisionError), host.sysctl.override(TTL, 99):
        raise ZeroDivisionError
    assert said(host, TTL) == "64"


def test_create_delete_and_states(host: Namespace) -> None:
    override = host.sysctl.override(TTL, 99)
    with pytest.raises(StateError, match="not created"):
        override.delete()
    for _ in range(2):
        assert override.create() is override
        with pytest.raises(StateError, match="already"):
            override.create()
        assert said(host, TTL) == "99"
        override.delete()
        assert said(host, TTL) == "64"
        assert not override.exists
        with pytest.raises(StateError, match="deleted"):
            override.delete()


def test_a_scope_owns_it(host: Namespace) -> None:
    with Scope() as scope:
        scope.own(host.sysctl.override(TTL, 99))
        scope.own(host.sysctl.override(FORWARD, 1))
        assert (said(host, TTL), said(host, FORWARD)) == ("99", "1")
    assert (said(host, TTL), said(host, FORWARD)) == ("64", "0")


def test_several_together_hold_and_come_back(host: Namespace) -> None:
    """Two of them say the same, and one a device's value that another one sets, too."""
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    before = everything(host)
    pairs = ((TTL, 99), (FORWARD, 1), ("net.ipv4.conf.v0.forwarding", 0), (ALL_FORWARDING, 1), (TTL, 98))
    with Scope() as scope:
        scope.own(*(host.sysctl.override(key, value) for key, value in pairs))
        now = (TTL, FORWARD, "net.ipv4.conf.v0.forwarding", "net.ipv4.conf.v1.forwarding")
        assert [said(host, key) for key in now] == ["98", "1", "0", "1"]
    assert everything(host) == before


@pytest.mark.parametrize("named", [False, True])
def test_one_of_several_that_is_refused_takes_the_others_back(named: bool) -> None:
    with Namespace("box" if named else None) as box, Scope() as scope:
        before = everything(box)
        keys = {FORWARD: 1, TTL: 99, "net.ipv4.conf.all.rp_filter": "junk", "net.ipv4.conf.lo.rp_filter": 1}
        overrides = [box.sysctl.override(key, value) for key, value in keys.items()]
        with pytest.raises(KernelError, match=r"rp_filter to 'junk'.*EINVAL") as caught:
            scope.own(*overrides)
        assert not getattr(caught.value, "__notes__", None)
        assert everything(box) == before
        scope.own(overrides[0], overrides[1], overrides[3])  # they can be begun again
        assert [said(box, key) for key in (FORWARD, TTL)] == ["1", "99"]
    assert not box.exists


@pytest.mark.parametrize("key", [FORWARD, ALL_FORWARDING])
def test_what_the_kernel_resets_along_comes_back(host: Namespace, key: str) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    run_in(host, "sysctl", "-qw", "net.ipv4.conf.v0.forwarding=1", "net.ipv4.conf.all.accept_redirects=0")
    before = everything(host)
    with host.sysctl.override(key, 1):
        assert said(host, "net.ipv4.conf.v1.forwarding") == "1"
    assert everything(host) == before


def test_ipv6_forwarding_comes_back_too(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    before = everything(host)
    with host.sysctl.override("net.ipv6.conf.all.forwarding", 1):
        assert said(host, "net.ipv6.conf.v0.forwarding") == "1"
    assert everything(host) == before


def test_nested_ones_are_counted(host: Namespace) -> None:
    first, second = host.sysctl.override(FORWARD, 1), host.sysctl.override(FORWARD, 1)
    first.create()
    second.create()
    first.delete()
    assert said(host, FORWARD) == "1"  # the second still wants it
    second.delete()
    assert said(host, FORWARD) == "0"


def test_two_spellings_of_one_switch_are_counted_together(host: Namespace) -> None:
    with host.sysctl.override(ALL_FORWARDING, 1):
        with host.sysctl.override(FORWARD, 1):
            pass
        assert said(host, FORWARD) == "1"
    assert said(host, FORWARD) == "0"


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_nested_ones_with_other_values(host: Namespace, order: tuple[int, int]) -> None:
    made = [host.sysctl.override(TTL, 100).create(), host.sysctl.override(TTL, 200).create()]
    assert said(host, TTL) == "200"
    made[order[0]].delete()
    assert said(host, TTL) == ("100" if order[0] == 1 else "200")
    made[order[1]].delete()
    assert said(host, TTL) == "64"


def test_by_two_handles_on_one_namespace(host: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as handle, ExitStack() as stack:
        stack.enter_context(host.sysctl.override(FORWARD, 1))
        with handle.sysctl.override(FORWARD, 1):
            pass
        assert said(host, FORWARD) == "1"
    assert said(host, FORWARD) == "0"


def test_what_a_stranger_set_since_stays(host: Namespace) -> None:
    with host.sysctl.override(TTL, 99):
        run_in(host, "sysctl", "-qw", f"{TTL}=42")
    assert said(host, TTL) == "42"


def test_a_value_that_was_right_already_is_still_held(host: Namespace) -> None:
    """Set by others before: it is theirs, and stays after the block."""
    run_in(host, "sysctl", "-qw", f"{FORWARD}=1")
    with host.sysctl.override(FORWARD, 1):
        assert said(host, FORWARD) == "1"
    assert said(host, FORWARD) == "1"


def test_detached_it_stays(host: Namespace) -> None:
    with host.sysctl.override(TTL, 99) as override:
        override.detach()
    assert said(host, TTL) == "99"
    with pytest.raises(StateError, match="borrowed"):
        override.delete()


def test_in_a_namespace_that_ends_first() -> None:
    with Scope() as scope:
        box = scope.own(Namespace())
        scope.own(box.sysctl.override(FORWARD, 1))
    box = Namespace().create()
    override = box.sysctl.override(FORWARD, 1).create()
    box.delete()
    override.delete()


def test_an_override_outlives_the_handle_it_was_made_by(host: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as handle:
        override = handle.sysctl.override(TTL, 99).create()
    assert said(host, TTL) == "99"
    override.delete()
    assert said(host, TTL) == "64"


@pytest.mark.parametrize("named", [False, True])
def test_what_cannot_be_given_back_is_a_teardown_error_and_tried_again(named: bool) -> None:
    with Namespace("box" if named else None) as box:
        override = box.sysctl.override(TTL, 99)
        with ExitStack() as stack:
            scope = Scope().__enter__()
            scope.own(override)
            scope.own(box.sysctl.override("net.ipv4.conf.lo.forwarding", 0))  # as it is: no obstacle
            stack.enter_context(read_only())
            with pytest.raises(TeardownError) as caught:
                scope.__exit__(None, None, None)
        (problem,) = caught.value.exceptions
        assert "EROFS" in str(problem)
        assert any("ip_default_ttl" in note for note in problem.__notes__)
        assert said(box, TTL) == "99"
        override.delete()
        assert said(box, TTL) == "64"


OTHER = """
import sys
from netkit import Namespace
for line in sys.stdin:
    if line == "create\\n":
        override = Namespace.open("box").sysctl.override("net.ipv4.ip_forward", 1).create()
    else:
        override.delete()
    print(line, end="", flush=True)
"""


class Other:
    """Another process that overrides the same key."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            place.there(sys.executable, "-c", OTHER), stdin=pipe, stdout=pipe, text=True, bufsize=1
        )

    def do(self, verb: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{verb}\n")
        assert self.process.stdout.readline() == f"{verb}\n"


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.process.communicate()


def test_F68_two_processes_are_counted(other: Other) -> None:
    """A 0 to 1, B finds 1, A ends: B still has 1; B ends: 0."""
    with Namespace("box") as box:
        mine = box.sysctl.override(FORWARD, 1).create()
        other.do("create")
        mine.delete()
        assert said(box, FORWARD) == "1"
        other.do("delete")
        assert said(box, FORWARD) == "0"
        other.do("create")
        mine.create()
        other.do("delete")
        assert said(box, FORWARD) == "1"
        mine.delete()
        assert said(box, FORWARD) == "0"


def test_F68_a_killed_process_counts_no_longer(other: Other) -> None:
    with Namespace("box") as box:
        mine = box.sysctl.override(FORWARD, 1).create()
        other.do("create")
        os.kill(place.main_of(other.process.pid), signal.SIGKILL)
        other.process.wait()
        mine.delete()
        assert said(box, FORWARD) == "0"


def test_an_override_ends_with_its_namespace() -> None:
    """The kernel gives the namespace's number to another one: the first one's users are not its."""
    from netkit._system import sysctl as system

    with Namespace() as ns:
        override = ns.sysctl.override("net.ipv4.ip_forward", 1).create()
        assert [key for key in system._shared if key[0] == ns._live_runtime().identity]
        identity = ns._live_runtime().identity
    assert not [key for key in system._shared if key[0] == identity]
    override.delete()  # finds nothing, and succeeds
