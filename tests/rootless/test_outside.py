"""The way outside of an ordinary user's namespaces. His outside is the session's own namespace."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from netkit import wait_for
from tests.harness import processes
from tests.harness.ordinary import NOBODY, PYTHON, Ordinary
from tests.harness.outside import BUSY, backend, echoed, gone, server
from tests.harness.patience import LONG
from tests.harness.tools import needs, needs_tun

__all__ = ["backend"]  # the fixture
pytestmark = needs_tun

START = """
import os, signal, socket, sys
from netkit import *
BACKEND = sys.argv[1] if len(sys.argv) > 1 else "{}"

def ask(ns, address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ns.socket(family, kind) as sock:
        sock.settimeout(60)
        try:
            sock.connect((address, port))
            sock.sendall(b"hello")
            return sock.recv(100).decode()
        except OSError as problem:
            return type(problem).__name__
"""


def program(nobody: Ordinary, backend: str, text: str) -> list[str]:
    return nobody.python(START.format(backend) + text).splitlines()


def started(nobody: Ordinary) -> dict[int, str]:
    """The processes that came out of this one, and his helpers with theirs, with their command lines."""
    roots = {os.getpid(), *processes.running(str(nobody.home))}
    found = roots.union(*map(processes.descendants, roots)) - {os.getpid()}
    return {pid: processes.command(pid) for pid in found}


@pytest.mark.parametrize("kind", ["STREAM", "DGRAM"])
def test_out(nobody: Ordinary, backend: str, kind: str) -> None:
    number = socket.SOCK_STREAM if kind == "STREAM" else socket.SOCK_DGRAM
    with server(kind=number) as port:
        text = f"""
print(os.geteuid())
with Namespace("box") as box:
    outside = box.connect_outside(backend=BACKEND, host_loopback=True)
    print(outside.exists, outside.link.state, *outside.link.addresses)
    print(*[route.via for route in box.routes if route.dst == "default"])
    print(ask(box, "10.0.2.2", {port}, socket.SOCK_{kind}))
    shown = box.run(["ip", "-br", "-4", "address", "show", "tap0"], capture_output=True, text=True)
    print(shown.stdout.split()[2])
    outside.delete()
    print(outside.exists, "tap0" in box.links)
"""
        lines = program(nobody, backend, text)
    assert lines[:1] == [str(NOBODY)]
    assert lines[1].startswith("True unknown 10.0.2.100/24")  # of a TAP device
    assert lines[2:] == ["10.0.2.2", "hello", "10.0.2.100/24", "False False"]


HOLDS = """
box = Namespace().create()
outside = box.connect_outside(backend=BACKEND, publish=["80"] if PUBLISH else ())
server = box.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 80))
server.listen()
print(*[each.host_port for each in outside.published] or ["ready"], flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(connection.recv(100))
    connection.close()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_in_and_it_ends_with_the_process(nobody: Ordinary, backend: str, number: int) -> None:
    before = started(nobody)
    text = "PUBLISH = True\n" + HOLDS
    with nobody.popen([PYTHON, "-W", "ignore", "-c", START + text, backend]) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert echoed(None, "127.0.0.1", port)
        # It, supervisor, broker, three keepers, program; those who started them end.
        wait_for(lambda: len(started(nobody).keys() - before.keys()) == 7, timeout=LONG)
        new = started(nobody).keys() - before.keys()
        processes.interrupt(process, number)
    assert gone(new) == []
    assert not echoed(None, "127.0.0.1", port, wait=1)


KILLER = """
import select, subprocess, sys
for moment in range(int(sys.argv[3])):
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", *sys.argv[1:3]], stdout=-1) as process:
        assert process.stdout.readline() == b"ready\\n"
        select.select([], [], [], 0.1 + moment * 0.017)
        assert process.poll() is None
        process.kill()
"""


@pytest.mark.slow
@needs("setpriv", "unshare")
def test_killed_at_many_moments_nothing_is_left(nobody: Ordinary, backend: str) -> None:
    """While it is made, while it is there, while it ends: the kernel counts what is left."""
    done = nobody.run(nobody.counted([PYTHON, "-c", KILLER, BUSY, backend, "20"]), timeout=5 * LONG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_interrupt_leaves_nothing(nobody: Ordinary, backend: str) -> None:
    """At any moment of the creation: neither processes of the program's own nor its device."""
    text = """
came = []
def interrupt(number, frame):
    came.append(number)
    raise KeyboardInterrupt

sys.unraisablehook = lambda what: None  # where one comes in a finalizer, Python reports it and goes on
signal.signal(signal.SIGALRM, interrupt)
def keepers():
    found = 0
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat") as file:
                found += file.read().rpartition(")")[2].split()[1] == str(os.getpid())
        except OSError:
            continue
    return found

with Namespace() as box:
    outside = Outside(box, backend=BACKEND, publish=["80"])
    outside.create().delete()
    before = keepers()
    for moment in range(40):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0003 + moment * 0.0015)
            outside.create()
            while len(came) <= moment:
                os.sched_yield()
        except KeyboardInterrupt:
            pass
        if outside.exists:
            outside.delete()
        assert "tap0" not in box.links, moment
        assert keepers() == before, moment
print("nothing")
"""
    before = started(nobody)
    assert program(nobody, backend, text) == ["nothing"]
    assert gone(started(nobody).keys() - before.keys()) == []


def test_its_keeper_and_its_broker_are_killed(nobody: Ordinary, backend: str) -> None:
    text = """
from netkit._system import broker
box = Namespace().create()
outside = box.connect_outside(backend=BACKEND)
os.kill(outside._keeper._process.pid, signal.SIGKILL)
print(outside.exists)
outside.delete()
print(outside.exists, "tap0" in box.links)
outside.create()
os.kill(broker.running().pid, signal.SIGKILL)
import select
print(select.select([outside._keeper._program], [], [], 60)[0] != [])
outside.delete()
box.delete()
"""
    before = started(nobody)
    assert program(nobody, backend, text) == ["True", "False False", "True"]
    assert gone(started(nobody).keys() - before.keys()) == []


def test_the_rest_of_it(nobody: Ordinary, backend: str) -> None:
    text = """
def refused(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except NetkitError as problem:
        print(type(problem).__name__, "|", problem)

taken = socket.socket()
taken.bind(("127.0.0.1", 0))
taken.listen()
with Namespace("box") as box:
    refused(box.connect_outside, publish={taken.getsockname()[1]: 80})
    taken.close()
    refused(box.connect_outside, publish={80: 80})
    outside = box.connect_outside(backend=BACKEND)
    refused(outside.detach)
    refused(box.connect_outside)
    print(outside.exists)
    with Namespace.current() as here:
        refused(here.connect_outside)
print(outside.exists)
os.environ["PATH"] = ""
with Namespace() as box:
    refused(box.connect_outside)
"""
    lines = program(nobody, backend, text)
    assert lines[0].startswith("ExistsError | cannot publish 127.0.0.1:")
    if len(lines) == 8:  # else low ports are free for all here
        assert lines[1].startswith("AccessError | cannot publish 127.0.0.1:80->80/tcp: Permission denied")
        assert "net.ipv4.ip_unprivileged_port_start" in lines[1]
    assert lines[-6].startswith("UnsupportedError | cannot detach <Outside of namespace 'box'")
    assert lines[-5].startswith("ExistsError | cannot create link 'tap0' in namespace 'box'")
    assert lines[-4] == "True"
    assert lines[-3].startswith("AccessError | ")
    assert lines[-2] == "False"
    assert lines[-1].startswith("BackendError | there is no way outside: neither `pasta`")


def test_what_it_inherits(nobody: Ordinary, backend: str) -> None:
    """Neither descriptors nor the environment."""
    text = "PUBLISH = False\n" + HOLDS
    before = started(nobody)
    with nobody.popen([PYTHON, "-c", START + text, backend], env={"SECRET": "x"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        new = {pid: line for pid, line in started(nobody).items() if pid not in before and pid != process.pid}
        (found,) = [pid for pid, line in new.items() if f"/{backend} " in line]
        for pid in new:
            with open(f"/proc/{pid}/environ", "rb") as file:
                assert b"SECRET" not in file.read()
        targets = [os.readlink(f"/proc/{found}/fd/{name}") for name in os.listdir(f"/proc/{found}/fd")]
        assert not [each for each in targets if each.endswith((".py", ".so"))]
        process.kill()
        process.wait(LONG)
    assert gone(set(new)) == []


def test_a_user_namespace_around_all(nobody: Ordinary, backend: str) -> None:
    """`netkit unshare`: root of its own network, which is the outside then."""
    source = nobody.home / "inside.py"
    source.write_text(
        START
        + """
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
with Namespace() as box:
    box.connect_outside(backend=BACKEND, host_loopback=True)
    client = box.socket()
    client.settimeout(60)
    client.connect(("10.0.2.2", server.getsockname()[1]))
    print("connected", os.geteuid())
    client.close()
"""
    )
    argv = [PYTHON, "-m", "netkit", "unshare", "--", PYTHON, str(source), backend]
    done = nobody.run(argv)
    assert (done.stdout, done.returncode) == ("connected 0\n", 0), done.stderr
