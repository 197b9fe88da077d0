"""The iptables worker against iptables-legacy, in namespaces made for each test.

A lock file of its own (XTABLES_LOCKFILE) keeps every test off the machine's /run/xtables.lock.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.iptables_rules import command_text, rule_text, rules_for
from netkit._spec.nat import dnat, masquerade, redirect, snat
from netkit.errors import AccessError, BackendError, BusyError, KernelError, NotFoundError, StateError
from tests.harness.patience import LONG

if TYPE_CHECKING:
    from netkit._nat.iptables_client import Process
    from netkit._nat.iptables_rules import Rule

pytestmark = [
    pytest.mark.capable,
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="needs Debian's package iptables"),
    pytest.mark.skipif(find_spec("iptc") is None, reason="needs python-iptables"),
]

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _in_thread(action: Callable[[], int]) -> int:
    """Run in a thread that ends, so that no other code is ever in its namespace."""
    results: list[int] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _unshare() -> int:
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Net:
    """A namespace, the worker in it, and iptables-legacy in it."""

    def __init__(self, lock: Path) -> None:
        self.lock = lock
        self.fd = _in_thread(_unshare)
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.worker = IptablesWorker(self.spawn, netns="test")

    def enter(self, argv: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/self/fd/{self.fd}", *argv]

    def spawn(self, argv: list[str], env: dict[str, str]) -> Process:
        process = subprocess.Popen(
            self.enter(argv),
            env={**env, "XTABLES_LOCKFILE": str(self.lock)},
            pass_fds=[self.fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.spawned.append(process)
        return process

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            self.enter(list(argv)),
            env={**os.environ, "XTABLES_LOCKFILE": str(self.lock)},
            pass_fds=[self.fd],
            capture_output=True,
            text=True,
            timeout=LONG,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def iptables(self, words: str, family: int = 4) -> str:
        program = "iptables-legacy" if family == 4 else "ip6tables-legacy"
        return self.run(program, "-w", *words.split())

    def shown(self, family: int = 4) -> list[str]:
        lines = self.iptables("-t nat -S", family).splitlines()
        return [line for line in lines if line.startswith("-A")]

    def close(self) -> None:
        self.worker.close()
        os.close(self.fd)


@pytest.fixture
def make_net(tmp_path: Path) -> Iterator[Callable[[], Net]]:
    with ExitStack() as stack:

        def make() -> Net:
            net = Net(tmp_path / "xtables.lock")
            stack.callback(net.close)
            return net

        yield make


@pytest.fixture
def net(make_net: Callable[[], Net]) -> Net:
    return make_net()


MASQUERADE = rules_for(masquerade(saddr="172.18.0.0/24", oif="enp1s0"))[0]
DNAT = rules_for(dnat(proto="tcp", dport=80, to="172.18.0.2:80"))[0]

SPECS = {
    4: [
        masquerade(saddr="172.18.0.0/24", oif="enp1s0"),
        masquerade(),
        masquerade(saddr="10.0.0.1", oif="!= br0", proto="udp", to="1024-2048"),
        masquerade(saddr="!= 10.0.0.0/20", daddr="!= 224.0.0.0/4"),
        masquerade(proto="icmp"),
        masquerade(proto="!= tcp"),
        masquerade(proto=112, oif="abcdefghijklmno"),
        snat(saddr="10.0.0.0/8", to="192.0.2.1"),
        snat(saddr="10.0.0.0/8", proto="tcp", to="192.0.2.1-192.0.2.4:1000-2000"),
        dnat(proto="tcp", dport=80, to="172.18.0.2:80"),
        dnat(proto="udp", sport="!= 53", dport="8000-8010", iif="eth0", to="172.18.0.2"),
        dnat(proto="tcp", dport="9000-9002", to="172.18.0.2:100-102"),
        dnat(proto="sctp", dport="!= 80", sport="1000-2000", to="172.18.0.2:81"),
        dnat(proto="sctp", dport=80, to="172.18.0.2:81"),
        dnat(daddr="192.0.2.7", to="172.18.0.2", local=True),
        redirect(proto="tcp", dport=80, to=8080),
        redirect(proto="udp", iif="!= lo", dport=53, to="5300-5310"),
        redirect(proto="tcp"),
    ],
    6: [
        masquerade(saddr="fd00:1::/64", oif="enp1s0"),
        masquerade(oif="eth0", family=6),
        masquerade(proto="!= tcp", family=6),
        masquerade(proto="icmpv6"),
        masquerade(saddr="!= fc00::/7", proto="tcp", to="1024-2048"),
        snat(saddr="fd00::/44", to="2001:db8::1"),
        snat(proto="udp", saddr="fd00::/8", to="[2001:db8::1]-[2001:db8::9]:10-20"),
        dnat(proto="tcp", dport=80, to="[fd00::2]:80"),
        dnat(proto="tcp", dport="9000-9002", iif="!= lo", to="[fd00::2]:100-102"),
        dnat(daddr="2001:db8::7", to="fd00::2", local=True),
        redirect(proto="sctp", dport=80, to=8080, family=6),
    ],
}


@pytest.mark.parametrize("family", [4, 6])
def test_rules_are_what_a_person_would_have_typed(make_net: Callable[[], Net], family: int) -> None:
    ours, typed = make_net(), make_net()
    rules = [rule for spec in SPECS[family] for rule in rules_for(spec, [family])]
    assert ours.worker.transaction(add=rules) == []
    for rule in rules:
        typed.run(*command_text(rule).replace("legacy -t", "legacy -w -t").split())
    shown = typed.shown(family)
    assert ours.shown(family) == shown
    assert ours.worker.list(family) == shown
    assert sorted(rule_text(rule) for rule in rules) == sorted(shown)
    # Byte for byte the same rules: each side finds and deletes the other's.
    assert all(typed.worker.exists(rule) for rule in rules)
    assert typed.worker.transaction(remove=rules) == []
    assert typed.shown(family) == []
    for rule in rules:
        ours.run(*command_text(rule).replace("legacy -t", "legacy -w -t").replace(" -A ", " -D ").split())
    assert ours.shown(family) == []


def test_the_two_rules_of_the_readme(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE, DNAT])
    assert net.shown() == [
        "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80",
        "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE",
    ]


def test_both_families_in_one_transaction(net: Net) -> None:
    six = rules_for(masquerade(oif="eth0", family=6))[0]
    net.worker.transaction(add=[MASQUERADE, six])
    assert net.shown(4) == [rule_text(MASQUERADE)]
    assert net.shown(6) == [rule_text(six)]


def test_insert_goes_first(net: Net) -> None:
    net.iptables("-t nat -A POSTROUTING -o other -j MASQUERADE")
    first: Rule = {**MASQUERADE, "position": "insert"}
    net.worker.transaction(add=[first])
    assert net.shown()[0] == rule_text(first)
    assert command_text(first).startswith("iptables-legacy -t nat -I POSTROUTING -s")


def test_F53_two_namespaces_do_not_mix(make_net: Callable[[], Net]) -> None:
    one, two = make_net(), make_net()
    one.worker.transaction(add=[MASQUERADE])
    two.worker.transaction(add=[DNAT])
    one.worker.transaction(add=[DNAT])
    assert one.shown() == [rule_text(DNAT), rule_text(MASQUERADE)]
    assert two.shown() == [rule_text(DNAT)]


def test_F55_F56_no_update_of_another_program_is_lost(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.iptables("-t nat -A POSTROUTING -o between -j MASQUERADE")
    net.worker.transaction(add=[DNAT])
    net.iptables("-t nat -R POSTROUTING 2 -o changed -j ACCEPT")
    net.worker.transaction(remove=[DNAT])
    assert net.shown() == [rule_text(MASQUERADE), "-A POSTROUTING -o changed -j ACCEPT"]


def test_F54_refused_rule_is_an_error_and_changes_nothing(net: Net) -> None:
    wrong: Rule = {**MASQUERADE, "table": "filter", "chain": "FORWARD"}
    with pytest.raises(KernelError) as caught:
        net.worker.transaction(add=[MASQUERADE, wrong])
    assert caught.value.errno == errno.EINVAL
    assert "-A FORWARD" in str(caught.value) or "1 more" in str(caught.value)
    assert "libiptc says: can't commit: Invalid argument" in str(caught.value)
    assert net.shown() == []  # table nat had been committed: taken back
    assert "MASQUERADE" not in net.iptables("-S")


def test_rollback_puts_removed_rules_back_in_their_place(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.iptables("-t nat -A POSTROUTING -o last -j MASQUERADE")
    before = net.shown()
    wrong: Rule = {**MASQUERADE, "table": "filter", "chain": "FORWARD"}
    with pytest.raises(KernelError):
        net.worker.transaction(remove=[MASQUERADE], add=[DNAT, wrong])
    assert net.shown() == before


def test_unknown_chain_and_bad_rule(net: Net) -> None:
    with pytest.raises(NotFoundError, match="No chain/target/match by that name"):
        net.worker.transaction(add=[{**MASQUERADE, "chain": "NOWHERE"}])
    with pytest.raises(KernelError, match="not an IPv4 network") as caught:
        net.worker.transaction(add=[{**MASQUERADE, "src": "fd00::/64"}])
    assert caught.value.errno == errno.EINVAL
    assert net.worker.list() == []


def test_removing_what_is_gone_is_reported(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE, DNAT])
    net.iptables("-t nat -F PREROUTING")
    assert net.worker.transaction(remove=[DNAT, MASQUERADE]) == [DNAT]
    assert net.worker.transaction(remove=[DNAT]) == [DNAT]
    assert net.shown() == []


def test_of_equal_rules_one_is_removed_the_last(net: Net) -> None:
    for words in ("-s 172.18.0.0/24 -o enp1s0 -j MASQUERADE", "-o between -j MASQUERADE"):
        net.iptables(f"-t nat -A POSTROUTING {words}")
    net.worker.transaction(add=[MASQUERADE])
    assert net.shown()[0] == net.shown()[2]
    net.worker.transaction(remove=[MASQUERADE])
    assert net.shown() == [rule_text(MASQUERADE), "-A POSTROUTING -o between -j MASQUERADE"]


FOREIGN = [
    "-t nat -N MINE",
    "-t nat -A MINE -j RETURN",
    "-t nat -A PREROUTING -j MINE",
    "-t nat -A PREROUTING -s 10.0.0.0/8 -g MINE",
    "-t nat -A PREROUTING -p tcp -m tcp --dport 1:2 -m comment --comment x -j ACCEPT",
    "-t nat -A PREROUTING -p tcp -m tcp --tcp-flags SYN,ACK SYN -j DNAT --to-destination 1.2.3.4 --random",
    "-t nat -A PREROUTING -m conntrack --ctstate NEW -m addrtype --dst-type LOCAL -j LOG",
    "-t nat -A PREROUTING -p udp -m multiport ! --dports 1,2,3 -j REDIRECT --to-ports 7 --random",
    "-t nat -A PREROUTING -s 10.0.1.0/255.0.255.0",
    "-t nat -A POSTROUTING ! -s 10.0.0.0/8 -o eth+ -j MASQUERADE --random",
    "-t nat -A POSTROUTING -m mark --mark 0x5/0xff -j SNAT --to-source 1.2.3.4 --persistent",
]


def test_list_shows_rules_of_others(net: Net) -> None:
    loaded = []
    for words in FOREIGN:
        try:
            net.iptables(words)
        except AssertionError:
            if "-m " not in words:  # else an extension that this kernel was built without
                raise
        else:
            loaded.append(words)
    assert len(loaded) >= 7
    net.worker.transaction(add=[MASQUERADE, DNAT])
    assert net.worker.list() == net.shown()
    net.iptables("-t nat -A PREROUTING -p tcp -m tcp --dport 5 -m mark --mark 1 -j ACCEPT", 6)
    assert net.worker.list(6) == net.shown(6)
    assert net.worker.list() == net.shown()


def test_F57_lock_held_by_another_process(net: Net) -> None:
    assert net.worker.list() == []  # started; and reading takes no lock
    with _holding(net.lock) as pid:
        with pytest.raises(BusyError) as caught:
            net.worker.transaction(add=[MASQUERADE], deadline=0.2)
        assert f"process {pid} ({sys.executable}" in str(caught.value)
        assert f"{net.lock} was held for 0.2 s" in str(caught.value)
        with pytest.raises(BusyError):
            net.worker.transaction(add=[MASQUERADE], deadline=0)
        assert net.worker.list() == []
    net.worker.transaction(add=[MASQUERADE])
    assert net.shown() == [rule_text(MASQUERADE)]


def test_waits_for_a_lock_that_is_released_in_time(net: Net) -> None:
    net.worker.list()
    answers: list[list[Rule]] = []
    with _holding(net.lock):
        thread = threading.Thread(target=lambda: answers.append(net.worker.transaction(add=[MASQUERADE])))
        thread.start()
        _wait_for_lock_waiter(net.lock, thread)
        assert answers == []
    thread.join(LONG)
    assert answers == [[]]
    assert net.shown() == [rule_text(MASQUERADE)]


@contextmanager
def _holding(lock: Path) -> Iterator[int]:
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.stdin.write(b"\n")


def _wait_for_lock_waiter(lock: Path, thread: threading.Thread) -> None:
    """Until somebody is queued for the lock (a line with ``->`` in /proc/locks)."""
    inode = f":{lock.stat().st_ino} "
    while thread.is_alive():
        if any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
            return


def test_F55_four_workers_at_once_lose_nothing(net: Net) -> None:
    workers = [IptablesWorker(net.spawn) for _ in range(4)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for port in range(1, 11):
                rule = rules_for(dnat(proto="tcp", dport=number * 100 + port, to="172.18.0.2:80"))[0]
                workers[number].transaction(add=[rule], deadline=20)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.close()
    assert errors == []
    assert len(set(net.shown())) == 40


def test_F58_one_worker_from_many_threads(net: Net) -> None:
    rules = [rules_for(dnat(proto="tcp", dport=port, to="172.18.0.2:80"))[0] for port in range(1, 41)]
    threads = [
        threading.Thread(target=lambda part=rules[start::4]: [net.worker.transaction(add=[r]) for r in part])
        for start in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(net.spawned) == 1
    assert sorted(net.shown()) == sorted(rule_text(rule) for rule in rules)


def test_many_rules_in_one_transaction(net: Net) -> None:
    rules = [rules_for(dnat(proto="tcp", dport=port, to="172.18.0.2:80"))[0] for port in range(1, 1001)]
    net.worker.transaction(add=rules)
    assert net.worker.list() == [rule_text(rule) for rule in rules] == net.shown()
    assert net.worker.transaction(remove=rules) == []
    assert net.shown() == []


def test_counters_count_packets(net: Net) -> None:
    net.run("ip", "link", "set", "lo", "up")
    rule = rules_for(redirect(proto="udp", daddr="127.0.0.1", dport=7, to=8, local=True))[1]
    with pytest.raises(NotFoundError, match="read the counters of '-A OUTPUT"):
        net.worker.counters(rule)
    net.worker.transaction(add=[rule])
    assert net.worker.counters(rule) == (0, 0)
    send = "import socket; socket.socket(2, 2).sendto(b'x' * 72, ('127.0.0.1', 7))"
    net.run(sys.executable, "-c", send)
    assert net.worker.counters(rule) == (1, 100)
    net.worker.transaction(add=[DNAT])  # a commit of ours keeps the counts
    assert net.worker.counters(rule) == (1, 100)
    net.iptables("-t nat -F OUTPUT")
    assert not net.worker.exists(rule)


def test_a_moved_range_of_ports_keeps_its_order(net: Net) -> None:
    net.run("ip", "link", "set", "lo", "up")
    spec = dnat(proto="tcp", daddr="127.0.0.1", dport="9000-9002", to="127.0.0.1:7100-7102", local=True)
    net.worker.transaction(add=rules_for(spec))
    program = (
        "import socket\n"
        "servers = [socket.create_server(('127.0.0.1', 7100 + n)) for n in range(3)]\n"
        "for n in (1, 0, 2, 2, 1):\n"
        "    socket.create_connection(('127.0.0.1', 9000 + n), 5).close()\n"
        "    servers[n].settimeout(60); servers[n].accept()[0].close()\n"
        "print('ok')"
    )
    assert net.run(sys.executable, "-c", program) == "ok\n"


def test_a_worker_that_was_killed_is_an_error_once(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.spawned[0].kill()
    with pytest.raises(BackendError, match=r"the worker process ended \(status -9\)"):
        net.worker.transaction(add=[DNAT])
    net.worker.transaction(add=[DNAT])
    assert len(net.spawned) == 2
    assert net.shown() == [rule_text(DNAT), rule_text(MASQUERADE)]


def test_a_crash_shows_what_the_worker_said_last(net: Net) -> None:
    net.worker.list()
    os.kill(net.spawned[0].pid, signal.SIGSEGV)
    with pytest.raises(BackendError, match="Segmentation fault"):
        net.worker.list()


def test_the_worker_survives_ctrl_c_and_ends_with_its_parent(net: Net) -> None:
    net.worker.list()
    process = net.spawned[0]
    os.kill(process.pid, signal.SIGINT)
    assert net.worker.list() == []
    assert os.getsid(process.pid) != os.getsid(0)
    ended = os.pidfd_open(process.pid)
    try:
        assert process.stdin is not None
        process.stdin.close()
        assert select.select([ended], [], [], LONG)[0]
    finally:
        os.close(ended)
    with pytest.raises(BackendError):
        net.worker.list()


def test_F34_close_ends_the_process_and_lets_the_namespace_go(make_net: Callable[[], Net]) -> None:
    net = make_net()
    net.worker.transaction(add=[MASQUERADE])
    net.worker.close()
    assert net.spawned[0].returncode == 0
    net.worker.close()
    assert net.worker.list() == [rule_text(MASQUERADE)]  # started anew; the rules had stayed


def test_a_forked_child_is_refused_and_keeps_nothing_open(net: Net) -> None:
    net.worker.list()
    process = net.spawned[0]
    assert process.stdin is not None
    fd = process.stdin.fileno()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            net.worker.list()
            os.write(write_end, b"answered")
        except StateError:
            os.write(write_end, b"open" if os.path.exists(f"/proc/self/fd/{fd}") else b"refused")
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        assert pipe.read() == b"refused"
    os.waitpid(pid, 0)
    assert net.worker.list() == []


def test_probe(net: Net) -> None:
    assert net.worker.probe() is None
    assert net.worker.probe([4, 6]) is None


def test_probe_without_capabilities(net: Net) -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        return net.spawn(["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", *argv], env)

    worker = IptablesWorker(spawn)
    try:
        assert "CAP_NET_ADMIN" in (worker.probe() or "")
        with pytest.raises(AccessError, match="CAP_NET_ADMIN"):
            worker.transaction(add=[MASQUERADE])
    finally:
        worker.close()


def test_probe_without_iptc(net: Net) -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        # A site-packages without iptc: -S, and only the first of the directories.
        return net.spawn([*argv[:2], "-S", *argv[2:5]], env)

    worker = IptablesWorker(spawn)
    try:
        reason = worker.probe() or ""
        assert "No module named 'iptc'" in reason
        assert "python3-iptables" in reason
        with pytest.raises(BackendError, match="python-iptables"):
            worker.list()
    finally:
        worker.close()


def test_lock_file_that_cannot_be_opened(net: Net) -> None:
    net.lock = net.lock.parent / "missing" / "xtables.lock"
    with pytest.raises(NotFoundError, match=r"Cannot open .*missing/xtables.lock.*XTABLES_LOCKFILE"):
        net.worker.transaction(add=[MASQUERADE])


def test_spawn_that_fails() -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        raise PermissionError(errno.EPERM, "no setns")

    with pytest.raises(BackendError, match=r"no worker process: .*no setns"):
        IptablesWorker(spawn).list()


def test_the_worker_changes_nothing_of_the_caller(net: Net) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    net.worker.transaction(add=[MASQUERADE])
    assert os.readlink("/proc/thread-self/ns/net") == before
    assert "iptc" not in sys.modules
    assert socket.if_nameindex()  # the caller still sees its own links
