"""The broker's answers: how many are waited for, too many descriptors under way, what nobody fetches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import few_descriptors
from tests.harness.ordinary import PYTHON, Ordinary
from tests.rootless.programs import program

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
def test_every_refusal_names_the_limit_of_descriptors(somebody: Ordinary, what: str, when: str) -> None:
    source = Path(few_descriptors.__file__).read_text()
    done = somebody.run([PYTHON, "-c", source, what, when])
    assert (done.returncode, done.stderr) == (0, "")
    few_descriptors.check(done.stdout)


UNDER_WAY = """
import errno, resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
ours, theirs = socket.socketpair()
ours.setblocking(False)
def fill():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
    try:
        while True:
            socket.send_fds(ours, [b"x"], [0])
    except OSError as problem:
        assert problem.errno == errno.ETOOMANYREFS, problem
"""


def test_too_many_descriptors_of_a_user_under_way(somebody: Ordinary) -> None:
    """The kernel refuses to pass more (too_many_unix_fds in net/core/scm.c); the broker says so."""
    text = f"""
{UNDER_WAY}
told = 0
while told < 2:
    fill()
    try:
        with Namespace():
            pass  # another process of this user's has fetched some meanwhile
    except KernelError as problem:
        print(problem)
        told += 1
ours.close(), theirs.close()
with Namespace() as box:
    print(box.run(["echo", "on"], capture_output=True, text=True).stdout)
"""
    *told, on, _ = program(somebody, text)
    assert len(told) == 2
    for each in told:
        assert "ETOOMANYREFS" in each
        assert "RLIMIT_NOFILE" in each
    assert on == "on"


def test_descriptors_under_way_are_waited_for(somebody: Ordinary) -> None:
    """Whoever they were sent to fetches them."""
    text = f"""
import threading
from netkit._system import passing
{UNDER_WAY}
passing.LOOKS = 300_000
waited, sleep = threading.Event(), passing.time.sleep
def step(seconds):
    waited.set()
    sleep(seconds)
passing.time.sleep = step
def fetch():
    if waited.wait(60):
        theirs.close()
with Namespace() as box:
    box.snapshot()
    fetcher = threading.Thread(target=fetch)
    fetcher.start()
    fill()
    print(box.sysctl["net.ipv4.ip_forward"], waited.is_set())
    fetcher.join()
ours.close()
passing.time.sleep = sleep
"""
    assert program(somebody, text) == ["0 True"]


def test_undoing_with_too_many_under_way(somebody: Ordinary) -> None:
    """Nothing is kept for it: the soft limit is lifted meanwhile."""
    text = f"""
{UNDER_WAY}
with Namespace() as host:
    with Scope() as lab:
        box = lab.own(Namespace())
        sleeper = box.popen(["sleep", "60"])
        bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
        lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
        for backend in ("nftables", "iptables"):
            lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24", backend=backend))
        lab.own(RouteTable(host, 100)).add("10.9.0.0/16", type="blackhole")
        fill()
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], sleeper.wait() < 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = host.snapshot()
    print(host.sysctl["net.ipv4.ip_forward"], *(link.name for link in found.links))
    for argv in (["nft", "list", "ruleset"], ["iptables-legacy", "-t", "nat", "-S"]):
        print(host.run(argv, capture_output=True, text=True).stdout.count("MASQUERADE"))
ours.close(), theirs.close()
"""
    assert program(somebody, text, **somebody.borrow("iptc")) == ["40 True", "0 lo", "0", "0"]


def test_an_answer_that_nobody_fetches_is_closed(somebody: Ordinary) -> None:
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
    lines = program(somebody, text)
    assert lines[:3] == ["0 1", "0", "0"]
    assert "EMFILE" in lines[3]
    assert lines[4:6] == ["True", "-4"]
    assert "has ended" in lines[6]
