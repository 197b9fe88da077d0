"""Live namespaces in an ordinary user's ordinary process: each test is a program of his."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.harness import few_descriptors
from tests.harness.ordinary import BECOME, PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.rootless.programs import START, program

PAIR = """
pair = VethPair(a, b, name="e", peer_name="e", address=["10.0.0.1/24", "fd00::1/64"],
                peer_address=["10.0.0.2/24", "fd00::2/64"])
"""


def test_F28_two_namespaces_and_a_cable(nobody: Ordinary) -> None:
    text = f"""
with open("/proc/self/status") as file:
    print(os.geteuid(), file.read().split("CapEff:")[1].split()[0])
with Namespace() as a, Namespace() as b:
    {PAIR.replace(chr(10), chr(10) + "    ")}
    with pair:
        print(a.ping("10.0.0.2").loss, b.ping("fd00::1").loss)
        a.routes.add("10.9.0.0/16", via="10.0.0.2")
        print([str(route.dst) for route in a.routes if route.via])
        print(len(a.snapshot().links), pair.peer.netns is b)
        done = a.run(["ip", "-br", "link", "show", "e"], capture_output=True, text=True, check=True)
        print(done.stdout.split()[:2])
"""
    lines = program(nobody, text)
    uid = BECOME.get("user", os.geteuid())
    assert lines == [f"{uid} 0000000000000000", "0.0 0.0", "['10.9.0.0/16']", "2 True", "['e@if1001', 'UP']"]


def test_sysctls(nobody: Ordinary) -> None:
    text = """
with Namespace() as a, Namespace() as b:
    a.sysctl["net.ipv4.ip_forward"] = 1
    print(a.sysctl["net.ipv4.ip_forward"], b.sysctl["net.ipv4.ip_forward"])
    with b.sysctl.override("net.ipv4.conf.all.forwarding", 1):
        print(b.sysctl["net.ipv4.conf.lo.forwarding"])
    print(b.sysctl["net.ipv4.conf.lo.forwarding"], "net.ipv4.nothing" in a.sysctl)
    try:
        a.sysctl["net.ipv4.nothing"]
    except NotFoundError as problem:
        print(problem)
"""
    lines = program(nobody, text)
    assert lines[:3] == ["1 0", "1", "0 False"]
    assert lines[3].startswith("cannot read sysctl net.ipv4.nothing: No such file or directory (ENOENT)")


def test_masquerade_and_dnat_with_packets(nobody: Ordinary) -> None:
    text = """
with Scope() as lab:
    outside, host, box = lab.own(Namespace()), lab.own(Namespace()), lab.own(Namespace())
    lab.own(VethPair(host, outside, name="eth0", peer_name="eth0", address="198.51.100.1/24",
                     peer_address="198.51.100.2/24"))
    bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
    bridge.connect(box, name="veth0", peer_name="eth0", peer_address="172.18.0.2/24", default_route=True)
    lab.own(host.sysctl.override("net.ipv4.conf.all.forwarding", 1))
    lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0"))
    print(box.ping("198.51.100.2").loss)
    rule = lab.own(NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80"))
    server, client = box.socket(), outside.socket()
    server.bind(("172.18.0.2", 80))
    server.listen()
    client.connect(("198.51.100.1", 80))
    taken, peer = server.accept()
    print(peer[0], rule.backend, rule.counters[0])
    for each in (server, client, taken):
        each.close()
"""
    assert program(nobody, text) == ["0.0", "198.51.100.2 nftables 1"]


def test_names_are_those_inside(nobody: Ordinary) -> None:
    text = """
with Namespace("red") as red:
    with Namespace.open("red") as again:
        print(again.fileno() == red.fileno(), os.path.samestat(os.stat(red.path), os.fstat(red.fileno())))
    print(red.run(["ip", "netns"], capture_output=True, text=True).stdout.split())
    print(red.run(["ip", "netns", "exec", "red", "ip", "-br", "link"], stdout=subprocess.PIPE).returncode)
    try:
        Namespace("red").create()
    except ExistsError as problem:
        print(problem.operation)
try:
    Namespace.open("red")
except NotFoundError:
    print("gone")
with Namespace("red"):
    print("again")
"""
    lines = program(nobody, text)
    assert lines == ["True True", "['red']", "0", "create namespace 'red'", "gone", "again"]


def test_a_topology(nobody: Ordinary) -> None:
    text = """
with Topology.star(120) as net:
    print(net["box3"].ping(net.address("box117")).loss)
"""
    assert program(nobody, text) == ["0.0"]


# -- what runs inside ---------------------------------------------------------------------------


def test_run_is_subprocess_run(nobody: Ordinary) -> None:
    text = """
os.umask(0o027)
os.environ["IT"] = "is here"
read, write = os.pipe()
with Namespace() as a:
    def out(*words, **keywords):
        done = a.run(list(words), capture_output=True, text=True, **keywords)
        return done.returncode, done.stdout, done.stderr
    print(out("sh", "-c", "pwd; umask; echo $IT; id -u; echo oops >&2; exit 3"))
    print(out("sh", "-c", "pwd; echo $IT", cwd="/usr", env={"IT": "other"}))
    print(out("cat", input="through\\n"), out("sh", "-c", "kill -9 $$"))
    print(a.run(["sh", "-c", f"echo passed >&{write}"], pass_fds=[write]).returncode, os.read(read, 10))
    print(a.run("echo $((6 * 7))", shell=True, stdout=subprocess.PIPE).stdout)
    print(a.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split())
    print(out("sh", "-c", "ps -o sid= -p $$", start_new_session=True)[1].strip() != "0")
    for words, keywords in ((["nosuch"], {}), (["/etc/passwd"], {}), (["true"], {"cwd": "/nosuch"})):
        try:
            a.run(words, **keywords)
        except OSError as problem:
            print(type(problem).__name__, problem.filename)
    try:
        a.run(["sh", "-c", "echo bad >&2; exit 7"], stderr=subprocess.PIPE, check=True)
    except CommandError as problem:
        print(problem.returncode, problem.stderr)
    try:
        a.run(["sleep", "100"], timeout=0.05)
    except subprocess.TimeoutExpired as problem:
        print(problem.cmd)
"""
    home = str(nobody.home)
    assert program(nobody, text) == [
        str((3, f"{home}\n0027\nis here\n0\n", "oops\n")),
        str((0, "/usr\nother\n", "")),
        f"{(0, 'through' + chr(10), '')} {(-9, '', '')}",
        "0 b'passed\\n'",
        "b'42\\n'",
        "['0', '1', '2', '3']",
        "True",
        "FileNotFoundError nosuch",
        "PermissionError /etc/passwd",
        "FileNotFoundError /nosuch",
        "7 b'bad\\n'",
        "['sleep', '100']",
    ]


def test_popen_is_subprocess_popen(nobody: Ordinary) -> None:
    text = """
import signal
with Namespace() as a:
    with a.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        print(isinstance(process, subprocess.Popen), process.poll(), os.path.exists(f"/proc/{process.pid}"))
        process.stdin.write("hello\\n")
        process.stdin.flush()
        print(process.stdout.readline(), end="")
        process.terminate()
        print(process.wait(60), process.returncode)
        process.kill()  # of one that has ended: nothing
    left = a.popen(["sh", "-c", "trap '' TERM HUP; sleep 1000 & wait"], start_new_session=True)
left.wait(60)
print(left.returncode)
"""
    assert program(nobody, text) == ["True None True", "hello", "-15 -15", "-9"]


def test_a_terminal(nobody: Ordinary) -> None:
    text = """
import pty
with Namespace() as a:
    ours, theirs = pty.openpty()
    words = ["sh", "-c", "test -t 0 && test -t 1 && stty size && echo yes"]
    done = a.run(words, stdin=theirs, stdout=theirs, stderr=theirs)
    said = b""
    while b"yes" not in said:
        said += os.read(ours, 1000)
    print(done.returncode, said)
"""
    assert program(nobody, text) == [r"0 b'0 0\r\nyes\r\n'"]


def test_call(nobody: Ordinary) -> None:
    text = """
import threading
def double(numbers):
    return [2 * each for each in numbers]
def fail():
    raise KeyError("missing")
with Namespace() as a:
    print(a.call(double, [1, 2]), a.call(lambda: socket.if_nameindex()), a.call(os.getcwd) == os.getcwd())
    print(len(a.call(bytes, 3_000_000)), a.call(lambda: Namespace.current().links["lo"].addresses and "up"))
    with a.call(lambda: socket.create_server(("127.0.0.1", 80))) as server, a.socket() as client:
        client.connect(("127.0.0.1", 80))
        taken, _ = server.accept()
        taken.close()
        print(a.call(lambda it: it.getpeername(), client))
    sys.stdout.flush()
    a.call(print, "printed inside")
    for function in (fail, lambda: threading.Lock(), lambda: os.kill(os.getpid(), 9), lambda: sys.exit(3)):
        try:
            a.call(function)
        except (KeyError, SpecError, StateError, SystemExit) as problem:
            print(type(problem).__name__, str(problem)[-60:])
    try:
        a.call(print, threading.Lock())
    except SpecError as problem:
        print(problem)
    try:
        a.entered()
    except UnsupportedError as problem:
        print("netkit unshare" in str(problem))
"""
    lines = program(nobody, text)
    assert lines[:5] == [
        "[2, 4] [(1, 'lo')] True",
        "3000000 up",
        "('127.0.0.1', 80)",
        "printed inside",
        "KeyError 'missing'",
    ]
    assert lines[5].startswith("SpecError")
    assert lines[5].endswith("cannot pickle '_thread.lock' object")
    assert lines[6].startswith("StateError")
    assert lines[7] == "SystemExit 3"
    assert "cannot be taken there: cannot pickle '_thread.lock' object. Use run()" in lines[8]
    assert lines[9] == "True"


def test_call_with_the_program_s_own_classes(nobody: Ordinary) -> None:
    text = """
import dataclasses, enum, functools
@dataclasses.dataclass
class Result:
    names: list[str]
class Fault(Exception):
    pass
class Colour(enum.Enum):
    RED = 1
@functools.cache
def look():
    if not socket.if_nameindex():
        raise Fault("nothing")
    return Result([name for _, name in socket.if_nameindex()])
def fail():
    raise Fault(sys.argv[0])
with Namespace() as a:
    result = a.call(look)
    print(type(result) is Result, result == Result(["lo"]), a.call(result.names.copy))
    try:
        a.call(fail)
    except Fault as problem:
        print(str(problem) == sys.argv[0], "in the process of call()" in problem.__notes__[0])
    try:
        a.call(lambda: Colour.RED)
    except SpecError as problem:
        print("Colour is of the program's main module and its metaclass" in str(problem))
"""
    assert program(nobody, text) == ["True True ['lo']", "True True", "True"]


def test_with_busy_threads_and_a_running_loop(nobody: Ordinary) -> None:
    text = """
import asyncio, threading
stop = threading.Event()
def spin():
    while not stop.is_set():
        sum(range(1000))
threads = [threading.Thread(target=spin) for _ in range(50)]
for thread in threads:
    thread.start()
results = []
def use():
    with Namespace() as a:
        a.sysctl["net.ipv4.ip_forward"] = 1
        results.append((a.ping("127.0.0.1", timeout=300).loss, a.run(["true"]).returncode))
async def main():
    use()
    await asyncio.gather(asyncio.to_thread(use), asyncio.to_thread(use))
try:
    asyncio.run(main())
finally:
    stop.set()
    for thread in threads:
        thread.join()
print(results)
"""
    assert program(nobody, text) == ["[(0.0, 0), (0.0, 0), (0.0, 0)]"]


# -- what is not ours -----------------------------------------------------------------------------


def sorted_links() -> list[str]:
    """Here: an ordinary user's session is in no namespace of its own."""
    return sorted(name for _, name in socket.if_nameindex())


def test_the_current_namespace_is_the_real_one(nobody: Ordinary) -> None:
    text = """
with Namespace() as a, Namespace.current() as host:
    print(sorted(link.name for link in host.links), os.stat("/proc/self/ns/net").st_ino)
    for change in (lambda: Bridge(host, "br0").create(), lambda: host.routes.add("10.9.0.0/16", dev="lo"),
                   lambda: VethPair(host, a, name="x", peer_name="y").create(),
                   lambda: VethPair(a, host, name="x", peer_name="y").create(),
                   lambda: host.sysctl.__setitem__("net.ipv4.ip_forward", "01")):
        try:
            change()
        except AccessError as problem:
            print("CAP_NET_ADMIN" in str(problem) and "netkit unshare" in str(problem))
"""
    lines = program(nobody, text)
    assert lines[0] == f"{sorted_links()} {os.stat('/proc/self/ns/net').st_ino}"
    assert lines[1:] == ["True"] * 5


def test_a_snapshot_of_it_without_what_he_may_not_read(nobody: Ordinary) -> None:
    text = """
with Namespace.current() as host:
    try:
        host.snapshot()
    except AccessError as problem:
        print(problem)
    before = host.snapshot(nat=False)
    print(sorted(link.name for link in before.links), before.nat, host.snapshot(nat=False) == before)
"""
    refusal, read = program(nobody, text)
    assert "list nft rules" in refusal
    assert "snapshot(nat=False) reads all the rest. This needs CAP_NET_ADMIN" in refusal
    assert read == f"{sorted_links()} () True"


@needs("iptables-legacy")
def test_iptables_there_is_refused_and_its_helper_survives_a_fork(nobody: Ordinary) -> None:
    text = """
with Namespace() as box, Namespace.current() as host:
    try:
        NatRule.masquerade(host, oif="lo", backend="iptables").create()
    except AccessError as problem:
        print(problem)
    with NatRule.masquerade(box, oif="lo", backend="iptables") as rule:
        if (child := os.fork()) == 0:
            import gc
            gc.collect()  # no word about what is the parent's: stderr stays empty
            os._exit(0)
        print(os.waitpid(child, 0)[1], rule.exists)
"""
    refusal, rest = program(nobody, text, **nobody.borrow("iptc"))
    assert "with iptables" in refusal
    assert "This needs CAP_NET_ADMIN" in refusal
    assert rest == "0 True"


@pytest.mark.parametrize(
    ("made", "attempt"), [("'p', persistent=True", "it.create()"), ("'q'", "it.create().detach()")]
)
def test_nothing_can_outlive_the_process(nobody: Ordinary, made: str, attempt: str) -> None:
    text = f"""
it = Namespace({made})
try:
    {attempt}
except UnsupportedError as problem:
    print(problem)
if it.exists:
    it.delete()
"""
    (line,) = program(nobody, text)
    assert "Without root a namespace ends with the process that made it" in line


# -- how it is chosen -----------------------------------------------------------------------------


def test_it_can_be_switched_off(nobody: Ordinary) -> None:
    text = """
try:
    Namespace().create()
except AccessError as problem:
    print(problem)
"""
    (line,) = program(nobody, text, NETKIT_ROOTLESS="0")
    assert "CAP_SYS_ADMIN" in line


def test_a_wrong_value_of_the_variable(nobody: Ordinary) -> None:
    text = """
try:
    Namespace().create()
except SpecError as problem:
    print(problem)
"""
    assert program(nobody, text, NETKIT_ROOTLESS="yes") == [
        "NETKIT_ROOTLESS='yes': give 1 (without root) or 0 (with root)"
    ]


def test_root_can_have_it_too() -> None:
    inside = "a.run(['readlink', '/proc/self/ns/user'], capture_output=True, text=True).stdout"
    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [PYTHON, "-c", START + f"with Namespace() as a:\n    print({inside})"],
        capture_output=True, text=True, timeout=LONG, cwd=project,
        env={**os.environ, "NETKIT_ROOTLESS": "1", "PYTHONPATH": project},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().startswith("user:")
    assert done.stdout.strip() != os.readlink("/proc/self/ns/user")


def test_doctor_says_which_and_why(nobody: Ordinary) -> None:
    done = nobody.run([PYTHON, "-m", "netkit", "doctor", "--json"])
    found = {each["name"]: each for each in json.loads(done.stdout)["privileges"]}
    detail = found["how namespaces are made"]["detail"]
    assert detail.startswith("without root, by a helper process in a user namespace")
    assert "CAP_SYS_ADMIN and CAP_NET_ADMIN are missing" in detail


LISTENING = """
from netkit._system import broker
asked = []
request, ask = broker.Broker.request, broker.Broker.ask
def noted(function):
    def call(self, what, *args, **fields):
        asked.append(what if function is request else what + ", meanwhile")
        return function(self, what, *args, **fields)
    return call
broker.Broker.request, broker.Broker.ask = noted(request), noted(ask)
"""


@pytest.mark.parametrize("name", [None, "box"])
def test_what_is_made_together_waits_for_two_answers_of_the_broker(
    nobody: Ordinary, name: str | None
) -> None:
    """Namespaces, and all overrides of a namespace; the socket for its rules is opened meanwhile."""
    text = f"""
{LISTENING}
keys = ("net.ipv4.ip_forward", "net.ipv4.conf.br0.proxy_arp", "net.ipv4.conf.all.rp_filter")
with Scope() as lab:
    host, box = Namespace({name!r}), Namespace()
    pair = VethPair(host, box, name="br0", peer_name="eth0")
    rules = [NatRule.masquerade(host, oif="br0"), NatRule.masquerade(box, oif="eth0", backend="nftables")]
    lab.own(host, box, pair, *(host.sysctl.override(key, 1) for key in keys), *rules)
    print(*sorted(asked), sep="; ")
    print(*(host.sysctl[key] for key in keys), *(each.exists for each in rules))
"""
    asked, found = program(nobody, text)
    registered = "" if name is None else "register; "
    assert asked == f"create; {registered}set_values; socket, meanwhile; socket, meanwhile"
    assert found == "1 1 1 True True"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [each for each in few_descriptors.WORKS if each != "iptables"])
def test_every_refusal_names_the_limit_of_descriptors(nobody: Ordinary, what: str, when: str) -> None:
    source = Path(few_descriptors.__file__).read_text()
    done = nobody.run([PYTHON, "-c", source, what, when])
    assert (done.returncode, done.stderr) == (0, "")
    few_descriptors.check(done.stdout)


def test_too_many_descriptors_of_a_user_under_way(nobody: Ordinary) -> None:
    """The kernel refuses to pass more (too_many_unix_fds in net/core/scm.c); the broker says so."""
    text = """
import resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
ours, theirs = socket.socketpair()
sent = 0
try:
    while sent < 200:
        socket.send_fds(ours, [b"x"], [0])
        sent += 1
except OSError as problem:
    print(problem.errno, sent < 200)
for _ in range(2):
    try:
        Namespace().create()
    except KernelError as problem:
        print(problem)
ours.close(), theirs.close()
with Namespace() as box:
    print(box.run(["echo", "on"], capture_output=True, text=True).stdout)
"""
    refused, *told, on, _ = program(nobody, text)
    assert refused == "109 True"
    assert len(told) == 2
    for each in told:
        assert "ETOOMANYREFS" in each
        assert "RLIMIT_NOFILE" in each
    assert on == "on"


def test_an_answer_that_nobody_fetches_is_closed(nobody: Ordinary) -> None:
    """Asked for and given up; asked for and never used; and one whose descriptor finds no room."""
    text = """
import resource, signal
from netkit._system import broker
with Namespace() as a, Namespace() as b:
    before = len(os.listdir("/proc/self/fd"))
    runtime = a._live_runtime()
    for given_up in (runtime.opener.ask_netlink(a.fileno(), 12), runtime.opener.ask_netlink(a.fileno(), 12)):
        given_up.drop()
    later = runtime.opener.ask_netlink(a.fileno(), 12)
    print(b.sysctl["net.ipv4.ip_forward"], len(os.listdir("/proc/self/fd")) - before)
    later.drop()
    print(len(os.listdir("/proc/self/fd")) - before)
    b._live_runtime().expect_netfilter()
    runtime.expect_netfilter()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest that is free, no lower: that many descriptors of this user's may be under way at once,
    # those of tests beside this one included (too_many_unix_fds in net/core/scm.c).
    full = os.dup(0)
    os.close(full)
    resource.setrlimit(resource.RLIMIT_NOFILE, (full, limits[1]))
    print(b.sysctl["net.ipv4.ip_forward"])  # the two answers before it bring descriptors
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    try:
        runtime.netfilter
    except NetkitError as problem:
        print(problem)
    print(runtime.netfilter.fileno() > 0)
print(len(os.listdir("/proc/self/fd")) - before)
with Namespace() as a:
    pid = broker.running().pid
    os.kill(pid, signal.SIGSTOP)
    a._live_runtime().expect_netfilter()
    os.kill(pid, signal.SIGKILL)
    try:
        NatRule.masquerade(a, oif="x").create()
    except StateError as problem:
        print(problem)
"""
    lines = program(nobody, text)
    assert lines[:3] == ["0 1", "0", "0"]
    assert "EMFILE" in lines[3]
    assert lines[4:6] == ["True", "-4"]
    assert "has ended" in lines[6]
