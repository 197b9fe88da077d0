"""Sysctls against sysctl(8), and overrides shared between users, processes and strangers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netkit._system import nsfs, sysctl, sysctl_files, worker
from netkit._system.sysctl import Override
from netkit._system.sysctl_lock import Record
from netkit.errors import KernelError, NotFoundError, SpecError, StateError
from tests.harness.tools import needs

pytestmark = [pytest.mark.capable, needs("sysctl")]

FORWARD = "net/ipv4/ip_forward"
SHARED = Path("/run/netkit/sysctl")


class Host:
    """A namespace with three devices."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.identity = nsfs.identity(fd)
        self.shell("ip link add v0 type veth peer v1; ip link add name eth0.100 type bridge")

    def inside(self, function: Callable[[], object]) -> object:
        return worker.inside(self.fd, function)

    def shell(self, command: str) -> str:
        run = lambda: subprocess.run(command, shell=True, check=True, capture_output=True, text=True)  # noqa: E731
        return worker.fresh(self.fd, run).stdout.strip()

    def read(self, key: str) -> str:
        return worker.inside(self.fd, lambda: sysctl.read(sysctl.key_path(key)))

    def write(self, key: str, value: str | int) -> bool:
        return worker.inside(self.fd, lambda: sysctl.write(sysctl.key_path(key), sysctl.value_text(value)))

    def override(self, key: str, value: str | int, alone: bool = False) -> Override:
        path, text = sysctl.key_path(key), sysctl.value_text(value)
        return Override(self.identity, self.inside, path, text, alone=alone)

    def all(self) -> str:
        return self.shell("sysctl -a -r '^net\\.ipv[46]\\.conf' 2>/dev/null; sysctl net.ipv4.ip_forward")


@pytest.fixture
def host() -> Iterator[Host]:
    fd, _ = worker.create_namespace(lambda: None)
    yield Host(fd)
    os.close(fd)
    assert not SHARED.exists() or list(SHARED.iterdir()) == []


@pytest.fixture(autouse=True, scope="module")
def the_shared_directory_is_open() -> None:
    # It is opened once and kept: ending an override must not need a descriptor.
    override = Override((0, 0), lambda function: function(), FORWARD, sysctl.read(FORWARD))
    override.begin()
    override.end()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_keys_are_those_of_sysctl(host: Host, key: str, path: str) -> None:
    assert sysctl.key_path(key) == path
    assert host.read(key) == host.shell(f"sysctl -n {key}") == "0"


@pytest.mark.parametrize(
    "key",
    ["", ".", "net..ipv4", "net.ipv4.", "/proc/sys/net", "../../etc/passwd", "net/../../x", "net/./x",
     "a b", "a\0b", "net.ipv4.ip_forward\n", "net.ipv4.\ud800"],
)  # fmt: skip
def test_a_key_never_leads_out(key: str) -> None:
    with pytest.raises(SpecError, match="sysctl key"):
        sysctl.key_path(key)


@pytest.mark.parametrize(
    ("value", "rule"),
    [(1.5, "a float"), (None, "a NoneType"), (b"1", "a bytes"), ([1], "a list"),
     ("1\n2", "more than one line"), ("a\0b", "contains NUL"), ("\ud800", "cannot be written in UTF-8")],
)  # fmt: skip
def test_values_are_one_line(value: object, rule: str) -> None:
    with pytest.raises(SpecError, match=f"sysctl value .*{rule}"):
        sysctl.value_text(value)  # type: ignore[arg-type]
    assert (sysctl.value_text(True), sysctl.value_text(7), sysctl.value_text(" 1 2 ")) == ("1", "7", "1 2")


def test_writes_only_what_differs(host: Host) -> None:
    assert host.write("net.ipv4.ip_forward", 1)
    assert not host.write("net.ipv4.ip_forward", 1)
    assert host.shell("sysctl -n net.ipv4.ip_forward") == "1"
    assert host.write("net.ipv4.ip_local_port_range", "20000 30000")
    assert not host.write("net.ipv4.ip_local_port_range", "20000 30000")
    assert host.read("net.ipv4.ip_local_port_range") == "20000\t30000"
    assert host.write("net.ipv4.route.flush", 1)  # can be written only


def test_long_values_are_read_whole(host: Host) -> None:
    ports = ",".join(str(port) for port in range(1001, 3001, 2))
    assert host.write("net.ipv4.ip_local_reserved_ports", ports)
    assert host.read("net.ipv4.ip_local_reserved_ports") == ports


def test_a_missing_key_is_not_found(host: Host) -> None:
    for key in ("net.ipv4.nope", "net.ipv4.conf.eth0.100.forwarding", "net.ipv4.conf"):
        with pytest.raises(NotFoundError, match=r"eth0\.100/forwarding"):
            host.read(key)
        with pytest.raises(KeyError):
            host.write(key, 1)
        assert not host.inside(lambda key=key: sysctl.present(sysctl.key_path(key)))


def test_a_refused_value_is_named_with_the_present_one(host: Host) -> None:
    with pytest.raises(KernelError, match=r"net\.ipv4\.ip_forward to 'junk'.*EINVAL.*It is '0'"):
        host.write("net.ipv4.ip_forward", "junk")
    with pytest.raises(KernelError, match=r"net\.ipv4\.ip_forward to '1 2'.*EINVAL.*It is '0'"):
        host.write("net.ipv4.ip_forward", "1 2")
    assert host.read("net.ipv4.ip_forward") == "0"


def test_what_it_is_afterwards_decides(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 6.1 says of all it is given for ignore_routes_with_linkdown that one byte was taken."""
    taken = sysctl_files._write
    monkeypatch.setattr(sysctl_files, "_write", lambda path, text: taken(path, text) and False)
    assert host.write("net.ipv6.conf.v0.ignore_routes_with_linkdown", 1)
    assert host.shell("sysctl -n net.ipv6.conf.v0.ignore_routes_with_linkdown") == "1"


def test_read_only_is_fine_if_the_value_is_right(host: Host) -> None:
    subprocess.run(["mount", "-o", "bind,ro,nosuid,nodev,noexec", "/proc/sys", "/proc/sys"], check=True)
    try:
        assert not host.write("net.ipv4.ip_forward", 0)
        with pytest.raises(KernelError, match=r"net\.ipv4\.ip_forward to '1'.*EROFS.*It is '0'"):
            host.write("net.ipv4.ip_forward", 1)
        before = host.all()
        with pytest.raises(KernelError, match="EROFS"):
            host.override("net.ipv4.ip_forward", 1).begin()
        override = host.override("net.ipv4.ip_forward", 0)
        override.begin()
        override.end()
        assert host.all() == before
    finally:
        subprocess.run(["umount", "/proc/sys"], check=True)


RESETTING = [
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.forwarding",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.default.forwarding",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.all.ignore_routes_with_linkdown",
    "net.ipv6.conf.all.addr_gen_mode",
    "net.ipv6.conf.all.force_forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv6.conf.v0.forwarding",
]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("key", RESETTING)
def test_all_that_the_kernel_resets_comes_back(host: Host, key: str, alone: bool) -> None:
    if not host.inside(lambda: os.path.exists(f"/proc/sys/{key.replace('.', '/')}")):
        pytest.skip(f"this kernel has no {key}")
    name = key.rpartition(".")[2].replace("ip_forward", "forwarding")
    # One device differs from the others, and one has an address, which pins its IPv4 values.
    host.shell(f"sysctl net.{key.split('.')[1]}.conf.v0.{name}=1; ip addr add 10.0.0.1/24 dev v1")
    before = host.all()
    override = host.override(key, 0 if host.read(key) == "1" else 1, alone)
    override.begin()
    during = host.all()
    assert during != before
    override.end()
    assert host.all() == before
    override.end()


def test_nested_overrides_are_counted(host: Host) -> None:
    before = host.all()
    overrides = [host.override(key, 1) for key in ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding")]
    for override in overrides:
        override.begin()
    overrides[0].end()
    assert host.read("net.ipv4.ip_forward") == "1"
    overrides[1].end()
    assert host.all() == before


def test_nested_overrides_with_different_values(host: Host) -> None:
    before = host.all()
    key = "net.ipv4.conf.all.rp_filter"
    one, two = host.override(key, 1), host.override(key, 2)
    one.begin()
    two.begin()
    assert host.read(key) == "2"
    two.end()
    assert host.read(key) == "1"
    two.begin()
    one.end()
    assert host.read(key) == "2"
    two.end()
    assert host.all() == before


def test_what_a_stranger_set_since_stays(host: Host) -> None:
    override = host.override("net.ipv4.conf.all.rp_filter", 1)
    override.begin()
    host.shell("sysctl net.ipv4.conf.all.rp_filter=2")
    override.end()
    assert host.read("net.ipv4.conf.all.rp_filter") == "2"

    override = host.override("net.ipv4.ip_forward", 1)
    override.begin()
    host.shell("sysctl net.ipv4.conf.v1.forwarding=0; ip link del eth0.100; ip link add new0 type bridge")
    assert host.read("net.ipv4.conf.new0.forwarding") == "1"
    override.end()
    forwarding = {name: host.read(f"net.ipv4.conf.{name}.forwarding") for name in ("all", "v0", "v1", "new0")}
    assert forwarding == {"all": "0", "v0": "0", "v1": "0", "new0": "0"}


def test_a_value_left_for_good_is_not_taken_back_by_others(host: Host) -> None:
    first, second = host.override("net.ipv4.ip_forward", 1), host.override("net.ipv4.ip_forward", 1)
    first.begin()
    second.begin()
    second.forget()
    first.end()
    assert host.read("net.ipv4.ip_forward") == "1"
    assert host.read("net.ipv4.conf.v0.forwarding") == "1"


def test_an_override_begins_once(host: Host) -> None:
    override = host.override("net.ipv4.ip_forward", 1)
    override.begin()
    with pytest.raises(StateError, match="begun"):
        override.begin()
    override.end()
    override.begin()
    override.end()
    assert host.read("net.ipv4.ip_forward") == "0"


def test_a_refused_override_leaves_nothing(host: Host) -> None:
    before = host.all()
    with pytest.raises(KernelError, match="EINVAL"):
        host.override("net.ipv4.conf.all.rp_filter", "junk").begin()
    with pytest.raises(NotFoundError):
        host.override("net.ipv4.nope", 1).begin()
    assert host.all() == before


def test_an_interrupted_override_leaves_nothing(host: Host) -> None:
    class Interrupt(BaseException):
        pass

    calls: list[int] = []

    def interrupted(function: Callable[[], object]) -> object:
        result = host.inside(function)
        calls.append(1)
        if len(calls) == 1:  # the write has happened
            raise Interrupt
        return result

    before = host.all()
    with pytest.raises(Interrupt):
        Override(host.identity, interrupted, FORWARD, "1").begin()
    assert host.all() == before


OTHER = """
import os, sys
from netkit._system import nsfs, sysctl, sysctl_files, worker
fd = int(sys.argv[1])
override = sysctl.Override(
    nsfs.identity(fd), lambda function: worker.inside(fd, function), "net/ipv4/ip_forward", "1")
for line in sys.stdin:
    getattr(override, line.strip())()
    print(line.strip(), flush=True)
"""


class Other:
    """Another process that overrides net.ipv4.ip_forward on request."""

    def __init__(self, fd: int) -> None:
        pipe = subprocess.PIPE
        argv = [sys.executable, "-c", OTHER, str(fd)]
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, pass_fds=[fd], bufsize=1)

    def do(self, verb: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(verb + "\n")
        assert self.process.stdout.readline() == verb + "\n"

    def close(self, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def other(host: Host) -> Iterator[Other]:
    process = Other(host.fd)
    yield process
    process.close()


def test_the_last_process_restores(host: Host, other: Other) -> None:
    before = host.all()
    mine = host.override("net.ipv4.ip_forward", 1)
    for first, second in ((mine, other), (other, mine)):
        for each in (first, second):
            each.do("begin") if isinstance(each, Other) else each.begin()
        first.do("end") if isinstance(first, Other) else first.end()
        assert host.read("net.ipv4.ip_forward") == "1"
        second.do("end") if isinstance(second, Other) else second.end()
        assert host.all() == before


def test_a_killed_process_is_no_user(host: Host, other: Other) -> None:
    before = host.all()
    mine = host.override("net.ipv4.ip_forward", 1)
    mine.begin()
    other.do("begin")
    other.close(kill=True)
    mine.end()
    assert host.all() == before


def test_a_forked_child_holds_no_override(host: Host, other: Other) -> None:
    before = host.all()
    mine = host.override("net.ipv4.ip_forward", 1)
    mine.begin()
    other.do("begin")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    mine.end()
    assert host.read("net.ipv4.ip_forward") == "1"
    other.do("end")
    assert host.all() == before
    os.close(write)
    os.close(read)
    os.waitpid(pid, 0)


def test_without_a_writable_run_users_of_this_process_are_counted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netkit._system import sysctl_lock

    monkeypatch.setattr(sysctl_lock, "DIRECTORY", "/proc/nowhere")
    monkeypatch.setattr(sysctl_lock, "_directory", -1)
    before = host.all()
    first, second = host.override("net.ipv4.ip_forward", 1), host.override("net.ipv4.ip_forward", 1)
    first.begin()
    second.begin()
    first.end()
    assert host.read("net.ipv4.ip_forward") == "1"
    second.end()
    assert host.all() == before


def test_F01_a_shorter_record_over_a_longer_one_is_read_alone() -> None:
    """Written over the one before and then cut: killed in between, the rest of the longer one is there."""
    longer, shorter, read = Record(), Record(), Record()
    longer.before = {f"net/ipv4/conf/eth{n}/forwarding": "0" for n in range(9)}
    shorter.before, shorter.after = {"net/ipv4/ip_default_ttl": "64"}, {"net/ipv4/ip_default_ttl": "99"}
    text = shorter.text()
    read.read(text + longer.text()[len(text) :])
    assert (read.before, read.after) == (shorter.before, shorter.after)
    read.read(b"")
    assert (read.before, read.after) == ({}, {})


def test_many_are_read_at_once_and_files_beside_them(host: Host) -> None:
    beside = "../thread-self/net/dev"  # as the names of tables in use
    found = host.inside(lambda: sysctl_files.read_each([FORWARD, "net/ipv4/nope", beside]))
    assert isinstance(found, dict)
    assert sorted(found) == [beside, FORWARD]
    assert found[FORWARD] == host.read("net.ipv4.ip_forward")
    assert "eth0.100:" in found[beside]
