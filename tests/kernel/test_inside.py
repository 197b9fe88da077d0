"""What runs inside a namespace: run, popen, call, socket, entered, ping, against /proc and real packets."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netkit import CommandError, Namespace, PingResult, SpecError, StateError, UnsupportedError, VethPair
from tests.harness import place
from tests.harness.here import HERE, identity, inode
from tests.harness.oracle import run_in
from tests.harness.patience import AT_ONCE, LONG, in_time

SIOCGSKNS = 0x894C  # linux/sockios.h: the namespace of a socket


@pytest.fixture(autouse=True)
def nobody_has_moved() -> Iterator[None]:
    before = identity(HERE)
    yield
    assert identity(HERE) == before


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace("box") as ns:
        yield ns


@pytest.fixture
def pair(host: Namespace, box: Namespace) -> Iterator[VethPair]:
    with VethPair(
        host, box, name="eth0", peer_name="eth0",
        address=["10.0.0.1/24", "fd00::1/64"], peer_address=["10.0.0.2/24", "fd00::2/64"],
    ) as veth:  # fmt: skip
        yield veth


# -- run ---------------------------------------------------------------------------


def test_a_command_runs_inside(box: Namespace) -> None:
    done = box.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.stdout, done.stderr, done.returncode) == (f"{inode(box)}\n", "", 0)
    assert done.args == ["readlink", "/proc/self/ns/net"]


def test_the_keywords_are_those_of_subprocess(box: Namespace, tmp_path: Path) -> None:
    def said(argv: Any, **keywords: Any) -> Any:
        return box.run(argv, capture_output=True, check=True, **keywords).stdout

    assert said(["pwd"], cwd=tmp_path, text=True) == f"{tmp_path}\n"
    assert said(["/usr/bin/env"], env={"ONLY": "this"}) == b"ONLY=this\n"
    assert said(["cat"], input=b"bytes") == b"bytes"
    assert said(["cat"], input="text", text=True) == "text"
    assert said(["cat"], input="é", encoding="latin-1") == "é"
    assert said("echo $0 | cat", shell=True, text=True) == "/bin/sh\n"
    assert said(["zero", "-c", "echo $0"], executable="/bin/sh", text=True) == "zero\n"
    assert said(["sh", "-c", "umask"], umask=0o77, text=True).strip() == "0077"
    own = 0 if place.ROOTLESS else os.getsid(0)  # 0: its leader is in another pid namespace
    code = "import os; print(os.getsid(0))"
    assert int(said([sys.executable, "-c", code], start_new_session=True)) != own
    assert int(said([sys.executable, "-c", code])) == own
    with open(tmp_path / "out", "w+") as out, open("/dev/null") as nothing:
        box.run(
            ["sh", "-c", "cat; echo out; echo err >&2"], stdin=nothing, stdout=out, stderr=subprocess.STDOUT
        )
        out.seek(0)
        assert out.read() == "out\nerr\n"


def test_F08_descriptors_are_passed_only_when_asked(box: Namespace) -> None:
    """F08"""
    reading, writing = os.pipe()
    try:
        listing = box.run(["ls", "/proc/self/fd"], capture_output=True, text=True, pass_fds=[writing]).stdout
        assert {int(word) for word in listing.split()} - {0, 1, 2} <= {writing, 3}  # 3 is the listing's own
        assert str(writing) in listing.split()
    finally:
        os.close(reading)
        os.close(writing)


def test_an_unknown_keyword_is_a_type_error(box: Namespace) -> None:
    for method in (box.run, box.popen):
        with pytest.raises(TypeError, match="capture_ouput"):
            method(["true"], capture_ouput=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="preexec_fn"):
        box.run(["true"], preexec_fn=int)  # type: ignore[call-arg]


@pytest.mark.parametrize("argv", ["ip link", [], "", None, 3, ["ping", 3], ["a\0b"]], ids=repr)
def test_a_bad_command_is_refused_before_it_starts(box: Namespace, argv: Any) -> None:
    with pytest.raises(SpecError):
        box.run(argv)
    with pytest.raises(SpecError):
        box.popen(argv)


def test_a_missing_program_or_directory(box: Namespace) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        box.run(["no-such-program"])
    with pytest.raises(FileNotFoundError, match="no-such-directory"):
        box.run(["true"], cwd="/no-such-directory")


@pytest.mark.parametrize("text", [True, False])
def test_a_failure_says_what_was_said_last(box: Namespace, text: bool) -> None:
    argv = ["sh", "-c", "echo out; echo no route to Mars >&2; exit 3"]
    with pytest.raises(CommandError, match="no route to Mars") as caught:
        box.run(argv, check=True, capture_output=True, text=text)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert (caught.value.returncode, caught.value.cmd) == (3, argv)
    assert caught.value.stdout == ("out\n" if text else b"out\n")
    assert "exit status 3" in str(caught.value)
    assert box.run(argv, capture_output=True).returncode == 3  # without check= no exception


def test_a_signal_is_a_failure_too(box: Namespace) -> None:
    with pytest.raises(CommandError, match="SIGKILL"):
        box.run(["sh", "-c", "kill -9 $$"], check=True)


def test_a_timeout_kills_the_child(box: Namespace) -> None:
    in_time(lambda: _a_timeout_kills_the_child(box))  # it is to say something before


def _a_timeout_kills_the_child(box: Namespace) -> None:
    reading, writing = os.pipe()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        box.run(["sh", "-c", "echo $$; exec sleep 100"], timeout=0.3, capture_output=True, pass_fds=[writing])
    os.close(writing)
    assert select.select([reading], [], [], 0)[0]  # at its end: nobody has the other end any more
    os.close(reading)
    assert int(caught.value.output or 0) > 0


def test_an_interrupt_kills_the_child(box: Namespace, alarm: Alarm) -> None:
    reading, writing = os.pipe()
    sender = threading.Thread(target=lambda: (os.read(reading, 1), alarm.ring()))
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        box.run(["sh", "-c", "echo; exec sleep 100"], stdout=writing)
    sender.join()
    os.close(writing)
    # If it was interrupted while the child was being started, the starting thread ends it.
    assert os.read(reading, 1) == b""
    assert select.select([reading], [], [], LONG)[0]
    os.close(reading)


class Alarm:
    """When it rings SIGALRM raises KeyboardInterrupt, as Ctrl-C does, once.

    It rings until it is heard: CPython checks for signals, gives up its lock and only then begins a wait, so
    that a signal in between does not end the wait (1 of 3000 on a busy machine); the next one does.
    """

    def ring(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.5)

    def heard(self, number: int, frame: object) -> None:
        self.stop()
        raise KeyboardInterrupt

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, alarm.heard)
    yield alarm
    alarm.stop()
    signal.signal(signal.SIGALRM, before)


# -- popen -------------------------------------------------------------------------


def test_popen_is_subprocess_popen(box: Namespace) -> None:
    with box.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert isinstance(child, subprocess.Popen)
        assert identity(f"/proc/{child.pid}/ns/net") == identity(box.fileno())
        assert child.communicate("hello")[0] == "hello"
    assert child.returncode == 0


GROWS = """
echo $$
sh -c 'trap "" TERM HUP INT; echo $$; exec sleep 100' &
setsid sh -c 'echo $$; exec sleep 100' &
(setsid sh -c 'echo $$; exec sleep 100' &)
wait
"""


def test_processes_die_with_the_namespace() -> None:
    with Namespace() as ns:
        child = ns.popen(["sh", "-c", GROWS], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        pids = [int(child.stdout.readline()) for _ in range(4)]
        ends = [os.pidfd_open(place.pid_of(pid)) for pid in pids]
        assert not select.select(ends, [], [], 0)[0]
    assert sorted(select.select(ends, [], [], 0)[0]) == sorted(ends)
    assert child.returncode == -signal.SIGKILL
    for fd in ends:
        os.close(fd)
    child.stdout.close()


def test_what_others_started_there_dies_too() -> None:
    """A process would keep the namespace, and with it the links, alive: what we made ends whole."""
    with Namespace("box") as ns:
        ns.run(["true"])
        command = place.there("ip", "netns", "exec", "box", "sh", "-c", "echo; exec sleep 100")
        stranger = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert stranger.stdout is not None
        stranger.stdout.read(1)
    assert stranger.wait(LONG) == -signal.SIGKILL
    stranger.stdout.close()


def test_processes_in_a_borrowed_one_go_on(box: Namespace) -> None:
    with Namespace.open("box") as borrowed:
        child = borrowed.popen(["sh", "-c", "echo; exec sleep 100"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read(1)
    assert child.poll() is None
    box.delete()
    assert child.wait(LONG) == -signal.SIGKILL  # its owner ended it
    child.stdout.close()


# -- call --------------------------------------------------------------------------


def test_a_function_runs_on_a_thread_inside(box: Namespace) -> None:
    def where(*args: object, **kwargs: object) -> tuple[object, ...]:
        return identity(HERE), threading.get_ident(), args, kwargs

    there, thread, args, kwargs = box.call(where, 1, "two", three=3, fd=4, function=5)
    assert there == identity(box.fileno())
    assert thread != threading.get_ident()
    assert args == (1, "two")
    assert kwargs == {"three": 3, "fd": 4, "function": 5}


def test_an_exception_comes_back_with_its_traceback(box: Namespace) -> None:
    def fails_here() -> None:
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside") as caught:
        box.call(fails_here)
    assert "fails_here" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(SystemExit):
        box.call(sys.exit, 3)


def test_context_variables_are_seen(box: Namespace) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("outside")

    def change() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    if place.ROOTLESS:  # another process has no part in this one's
        with pytest.raises(SpecError, match="ContextVar"):
            box.call(change)
        return
    assert box.call(change) == "outside"
    assert variable.get() == "outside"


def test_calls_within_calls(host: Namespace, box: Namespace) -> None:
    def outer() -> tuple[object, object, object]:
        return box.call(identity, HERE), identity(HERE), [item.name for item in box.links]

    assert host.call(outer) == (identity(box.fileno()), identity(host.fileno()), ["lo"])


@pytest.mark.parametrize("value", [None, 3, "function", ["ip", "link"]])
def test_only_functions_are_called(box: Namespace, value: Any) -> None:
    with pytest.raises(SpecError, match="function"):
        box.call(value)


def test_an_interrupt_ends_the_wait(box: Namespace, alarm: Alarm) -> None:
    ours, theirs = socket.socketpair()

    def waits(sock: socket.socket) -> None:
        sock.sendall(b"started")
        assert sock.recv(10) == b"go"
        sock.sendall(b"ended")

    def interrupts() -> None:
        assert ours.recv(10) == b"started"
        alarm.ring()

    sender = threading.Thread(target=interrupts)
    sender.start()
    with ours, theirs:
        ours.settimeout(LONG)
        with pytest.raises(KeyboardInterrupt):
            box.call(waits, theirs)
        sender.join()
        assert box.call(identity, HERE) == identity(box.fileno())  # usable at once
        ours.sendall(b"go")
        assert ours.recv(10) == b"ended"


# -- socket ------------------------------------------------------------------------


def namespace_of(sock: socket.socket) -> tuple[int, int]:
    fd = fcntl.ioctl(sock.fileno(), SIOCGSKNS)
    try:
        return identity(fd)
    finally:
        os.close(fd)


FAMILIES = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
    "raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE),
    "packet": (socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_socket_lives_inside(box: Namespace, kind: str) -> None:
    family, type_, protocol = FAMILIES[kind]
    with box.socket(family, type_, protocol) as sock:
        assert isinstance(sock, socket.socket)
        assert namespace_of(sock) == identity(box.fileno())
        assert (sock.family, sock.type) == (family, type_)
        assert os.get_inheritable(sock.fileno()) is False
    with box.socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)


def test_abstract_unix_names_are_the_namespaces_own(host: Namespace, box: Namespace) -> None:
    with host.socket(socket.AF_UNIX) as one, box.socket(socket.AF_UNIX) as other:
        one.bind("\0netkit-test")
        one.listen()
        other.bind("\0netkit-test")  # taken in one namespace, free in the other
        with box.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect("\0netkit-test")  # other does not listen
        with host.socket(socket.AF_UNIX) as client:
            client.connect("\0netkit-test")


def test_a_socket_that_the_kernel_refuses(box: Namespace) -> None:
    with pytest.raises(OSError, match="Protocol not supported") as caught:
        box.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
    assert caught.value.errno == errno.EPROTONOSUPPORT


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "fd00::2")])
def test_sockets_in_asyncio_from_outside(
    host: Namespace, box: Namespace, pair: VethPair, family: int, address: str
) -> None:
    async def talk() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        listening = box.socket(family)
        listening.bind((address, 80))
        server = await asyncio.start_server(answer, sock=listening)
        client = host.socket(family)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (address, 80))
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"hello\n")
        answered = await reader.readline()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answered

    assert asyncio.run(asyncio.wait_for(talk(), LONG)) == b"HELLO\n"


def test_packets_are_seen_by_a_packet_socket(host: Namespace, box: Namespace, pair: VethPair) -> None:
    with box.socket(*FAMILIES["packet"]) as sniffer:
        sniffer.bind(("eth0", 3))
        sniffer.settimeout(LONG)
        host.ping("10.0.0.2", timeout=1)
        while True:
            frame = sniffer.recv(2048)
            if frame[12:14] == b"\x08\x00":
                break
        assert frame[6:12] == bytes.fromhex((pair.link.mac or "").replace(":", ""))


# -- entered -----------------------------------------------------------------------


def test_entered_goes_there_and_back(host: Namespace, box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    before = identity(HERE)
    with box.entered():
        assert identity(HERE) == identity(box.fileno())
        with socket.socket() as sock:
            assert namespace_of(sock) == identity(box.fileno())
        assert os.readlink("/proc/thread-self/ns/net") == inode(box)
        with host.entered():
            assert identity(HERE) == identity(host.fileno())
            assert [item.name for item in box.links] == ["lo"]
        assert identity(HERE) == identity(box.fileno())
    assert identity(HERE) == before


def test_entered_comes_back_after_an_exception(box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    before = identity(HERE)
    with pytest.raises(ZeroDivisionError), box.entered():
        raise ZeroDivisionError
    assert identity(HERE) == before
    with pytest.raises(KeyboardInterrupt), box.entered():
        signal.raise_signal(signal.SIGINT)
    assert identity(HERE) == before


def test_entered_moves_no_other_thread(box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    found: list[tuple[int, int]] = []
    with box.entered():
        thread = threading.Thread(target=lambda: None)
        thread.start()  # a new thread inherits: what is asked is that an old one does not
        thread.join()
        main = identity("/proc/self/ns/net")
    worker_at_rest = threading.Thread(target=lambda: found.append(identity(HERE)))
    worker_at_rest.start()
    worker_at_rest.join()
    assert main == identity(box.fileno())  # /proc/self is the main thread, which is this one
    assert found == [identity(HERE)]


def test_entered_refuses_a_running_loop(box: Namespace) -> None:
    async def inside_a_loop() -> None:
        before = identity(HERE)
        refusal = (UnsupportedError, "netkit unshare") if place.ROOTLESS else (StateError, "event loop")
        with pytest.raises(refusal[0], match=refusal[1]), box.entered():
            pytest.fail("entered")
        assert identity(HERE) == before
        there = await asyncio.to_thread(box.call, identity, HERE)
        assert there == identity(box.fileno())

    asyncio.run(inside_a_loop())


def test_entered_a_namespace_that_ends_inside() -> None:
    before = identity(HERE)
    ns = Namespace().create()
    if place.refuses_to_enter(ns):
        ns.delete()
        return
    with ns.entered():
        ns.delete()
    assert identity(HERE) == before


# -- ping --------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_ping(host: Namespace, pair: VethPair, address: str) -> None:
    result = host.ping(address)
    assert isinstance(result, PingResult)
    assert (result.sent, result.received, result.loss) == (1, 1, 0.0)
    assert result.min == result.avg == result.max
    assert result.max is not None
    assert 0 < result.max < 2


@pytest.mark.parametrize(("address", "overhead"), [("10.0.0.2", 20 + 8), ("fd00::2", 40 + 8)])
def test_ping_count_interval_and_size_on_the_wire(
    host: Namespace, box: Namespace, pair: VethPair, address: str, overhead: int
) -> None:
    protocol = 0x0800 if "." in address else 0x86DD
    echo = b"\x08\x00" if "." in address else b"\x80\x00"
    begins = 20 if "." in address else 40
    with box.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol)) as sniffer:
        sniffer.bind(("eth0", protocol))
        start = time.monotonic()
        result = host.ping(address, count=4, interval=0.02, size=100, timeout=LONG)
        took = time.monotonic() - start
        sniffer.setblocking(False)
        packets = []
        while True:
            try:
                packets.append(sniffer.recvfrom(2048))
            except BlockingIOError:
                break
    requests = [data for data, _ in packets if data[begins : begins + 2] == echo]
    assert [len(data) for data in requests] == [100 + overhead] * 4
    sequences = [struct.unpack_from("!H", data, begins + 6)[0] for data in requests]
    assert sequences == list(range(sequences[0], sequences[0] + 4))
    assert (result.sent, result.received, result.loss) == (4, 4, 0.0)
    assert took >= 3 * 0.02
    assert result.min is not None
    assert result.avg is not None
    assert result.max is not None
    assert 0 < result.min <= result.avg <= result.max < took
    assert str(result).startswith("4 sent, 4 received, 0% loss, min/avg/max ")


def test_ping_with_every_second_packet_lost(host: Namespace, box: Namespace, pair: VethPair) -> None:
    run_in(box, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; }")
    run_in(box, "nft", "add rule ip t c icmp type echo-request numgen inc mod 2 == 0 drop")
    result = host.ping("10.0.0.2", count=4, interval=0, timeout=AT_ONCE)
    assert (result.sent, result.received, result.loss) == (4, 2, 0.5)
    assert len(result.times) == 2


@pytest.mark.parametrize(
    "address",
    ["10.0.0.9", "fd00::9", "203.0.113.1", "2001:db8::1"],
    ids=["link", "link6", "off", "off6"],
)
def test_an_unreachable_target_is_loss(host: Namespace, pair: VethPair, address: str) -> None:
    result = host.ping(address, timeout=0.1)
    assert (result.sent, result.received, result.loss) == (1, 0, 1.0)
    assert (result.min, result.avg, result.max) == (None, None, None)


def test_the_timeout_is_kept(host: Namespace, box: Namespace, pair: VethPair) -> None:
    run_in(box, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; policy drop; }")

    def give_up() -> None:
        start = time.monotonic()
        assert host.ping("10.0.0.2", timeout=0.2).loss == 1.0
        assert 0.19 < time.monotonic() - start < 1

    in_time(give_up)


def test_ping_oneself_and_a_link_local_address(host: Namespace, box: Namespace, pair: VethPair) -> None:
    assert host.ping("127.0.0.1").loss == host.ping("::1").loss == 0
    local = next(str(each.ip) for each in box.links["eth0"].addresses if each.scope == "link")
    assert host.ping(f"{local}%eth0", timeout=3).loss == 0


def test_ping_needs_no_binary(host: Namespace, pair: VethPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert host.ping("10.0.0.2").loss == 0


@pytest.mark.parametrize(
    "bad",
    [
        lambda ns: ns.ping("10.0.0.256"),
        lambda ns: ns.ping("host"),
        lambda ns: ns.ping("10.0.0.2/24"),
        lambda ns: ns.ping("10.0.0.2", count=0),
        lambda ns: ns.ping("10.0.0.2", count=True),
        lambda ns: ns.ping("10.0.0.2", size=-1),
        lambda ns: ns.ping("10.0.0.2", size=70000),
        lambda ns: ns.ping("10.0.0.2", timeout=-1),
        lambda ns: ns.ping("10.0.0.2", interval="1"),
    ],
)
def test_bad_values_of_a_ping(host: Namespace, bad: Callable[[Namespace], object]) -> None:
    with pytest.raises(SpecError):
        bad(host)


def test_a_program_has_the_priority_and_processors_of_the_thread_that_starts_it(host: Namespace) -> None:
    """Linux keeps both per thread: a program started by a thread that lives on would have that one's."""
    host.run(["true"])
    said: list[str] = []

    def start() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)))"
        said.append(host.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert said == ["5 1\n"]
