"""The demo from its first line to its last: scenes, packets, picture, and what is left."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import FrameType

from netkit import Bridge, Namespace, NetkitError, PingResult, Scope, shutdown
from netkit._demo import packets, picture, scenes, twins
from netkit._demo.leftovers import MARK, Machine, count, described, together
from netkit._demo.screen import Screen
from netkit._demo.source import body
from netkit._diagnostics.software import which
from netkit._lifecycle import end_guard
from netkit._system import broker, mode
from netkit.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from netkit._demo.scenes import BackendName

    T = TypeVar("T")

HOST_ADDRESS = "192.168.122.220"
_LISTINGS = {
    "nftables": ["nft", "list", "ruleset"],
    "iptables": ["iptables-legacy", "-w", "-t", "nat", "-S"],
}


class Demo:
    """One performance: it prints, and remembers times and failures."""

    def __init__(self, backend: BackendName, silent: bool = False) -> None:
        self.backend: BackendName = backend
        self.screen = Screen(silent)
        self.times: list[tuple[str, float]] = []
        self.answers: list[tuple[str, bool]] = []
        self.failures: list[str] = []
        self.left: dict[str, list[str]] = {}

    def play(self) -> int:
        """All of it; returns the exit status: 0, or 1 if anything failed or was left."""
        self.screen.line("netkit demo: a container network in five scenes", "title")
        self.screen.line(
            "Every scene is made in a block `with Scope() as lab:`, which undoes it at its end. The "
            'machine\'s own network is not touched: the "host" is a namespace too.'
        )
        mark = os.urandom(8).hex()
        before = Machine(mark)
        os.environ[MARK] = mark
        try:
            interrupted = self._performed()
        finally:
            del os.environ[MARK]
        self._nothing_left(before, mark)
        if interrupted:
            return 128 + signal.SIGINT
        return 1 if self.failures else 0

    def _performed(self) -> bool:
        """Play the scenes; whether Ctrl-C ended them. What an exception holds is let go on return."""
        try:
            self._scenes()
            self._totals()
        except (NetkitError, OSError, EOFError) as problem:
            if isinstance(problem, BrokenPipeError):
                raise  # nobody reads what we print
            self._expect(False, f"{type(problem).__name__}: {problem}")
        except KeyboardInterrupt:
            self.screen.line()
            self.screen.line("Interrupted: what was made is undone.", "bad")
            shutdown()  # what the interrupt kept from its Scope is undone now, not at exit
            return True
        return False

    # -- the scenes -----------------------------------------------------------------

    def _scenes(self) -> None:
        with Scope() as lab:
            self._veth(lab)
        with Scope() as lab:
            self._bridge(lab)
        with Scope() as lab:
            host, outside, ns1 = self._route_table(lab)
            self._masquerade(lab, host, outside, ns1)
            self._dnat(lab, host, outside, ns1)
            self._picture(host, outside, ns1)

    def _veth(self, lab: Scope) -> None:
        self.screen.heading("Scene 1: veth")
        ns1, _ = self._built("veth", scenes.veth, lambda: scenes.veth(lab), twins.VETH)
        self._pinged("172.18.0.3", self._asked(packets.ping_peer, lambda: packets.ping_peer(ns1)))

    def _bridge(self, lab: Scope) -> None:
        self.screen.heading("Scene 2: bridge")
        host, outside, ns1, br0 = self._built(
            "bridge", scenes.bridge, lambda: scenes.bridge(lab), twins.BRIDGE
        )
        received = self._asked(packets.frame, lambda: packets.frame(ns1, outside))
        veth1 = ns1.links["veth1"]
        self._answer(
            f"1 frame sent by veth1, 1 received at the uplink's other end: {received[14:35].decode()!r}",
            received[6:12] == packets.mac_bytes(veth1),
            "the frame that came is not the one that was sent",
        )
        self._ports(host, br0, veth1.mac or "")

    def _ports(self, host: Namespace, br0: Bridge, mac: str) -> None:
        ports = br0.ports
        told = [f"{port.name} is a port of {br0.link.name}, {port.state}" for port in ports]
        learned = [entry for entry in br0.fdb if entry.mac == mac]
        told += [f"{br0.link.name} has learned that {mac} is behind {entry.dev}" for entry in learned]
        self._said("the kernel, on the bridge", told)
        self._expect(
            {port.name for port in ports} == {"enp1s0", "veth0"}, "br0's ports are not enp1s0 and veth0"
        )
        self._expect(all(port.state == "up" for port in ports), "a port of br0 is not up")
        self._expect([entry.dev for entry in learned] == ["veth0"], "br0 has not learned where ns1 is")
        if which("bridge"):
            self._listing(host, ["bridge", "link"])

    def _route_table(self, lab: Scope) -> tuple[Namespace, Namespace, Namespace]:
        self.screen.heading("Scene 3: route table")
        host, outside, ns1 = self._built(
            "route table", scenes.route_table, lambda: scenes.route_table(lab), twins.ROUTE_TABLE
        )
        self._pinged(HOST_ADDRESS, self._asked(packets.ping_host, lambda: packets.ping_host(ns1)))
        return host, outside, ns1

    def _masquerade(self, lab: Scope, host: Namespace, outside: Namespace, ns1: Namespace) -> None:
        self.screen.heading("Scene 4: MASQUERADE")
        twin = twins.FORWARDING + twins.MASQUERADE[self.backend]
        rule = self._built(
            "MASQUERADE", scenes.masquerade, lambda: scenes.masquerade(lab, host, self.backend), twin
        )
        self._no_route(outside)
        seen = self._asked(packets.who_am_i, lambda: packets.who_am_i(ns1, outside))
        self._answer(
            f"the server at 192.168.122.1 says: you are {seen}",
            seen == HOST_ADDRESS,
            f"the server saw {seen} instead of {HOST_ADDRESS}",
        )
        self._counted(rule.counters.packets, "the masquerade rule")

    def _no_route(self, outside: Namespace) -> None:
        reason = packets.no_route(outside, "172.18.0.2")
        self._answer(
            f"outside itself has no route to 172.18.0.2: {reason}",
            reason is not None,
            "outside has a route to 172.18.0.0/24: the answer proves nothing",
        )

    def _dnat(self, lab: Scope, host: Namespace, outside: Namespace, ns1: Namespace) -> None:
        self.screen.heading("Scene 5: DNAT")
        rule = self._built(
            "DNAT", scenes.dnat, lambda: scenes.dnat(lab, host, self.backend), twins.DNAT[self.backend]
        )
        page = self._asked(packets.get_page, lambda: packets.get_page(ns1, outside))
        good = page.startswith("200 OK\n") and "Hello from ns1" in page and "192.168.122.1." in page
        self._answer(
            f"GET http://{HOST_ADDRESS}/ from outside:",
            good,
            "the page of ns1 did not come, or came from elsewhere",
        )
        self.screen.lines(page.splitlines(), "good" if good else "bad", indent=8)
        self._counted(rule.counters.packets, "the dnat rule")
        self._rules(host)

    def _rules(self, host: Namespace) -> None:
        """The rules as the tool of the backend lists them, or as netkit reads them where it is missing."""
        command = _LISTINGS[self.backend]
        if which(command[0]) is None:
            self.screen.line(f"{command[0]} is not installed here: {' '.join(command)} is left out", indent=2)
            return
        listing = self._listing(host, command)
        wanted = ["masquerade", "172.18.0.2:80"] if self.backend == "nftables" else twins.IPTABLES_RULES
        self._expect(all(text in listing for text in wanted), f"{command[0]} does not list both rules")

    def _picture(self, host: Namespace, outside: Namespace, ns1: Namespace) -> None:
        self.screen.heading("The network of scenes 3, 4 and 5, as the kernel has it")
        self.screen.lines(picture.draw([("outside", outside), ("host", host), ("ns1", ns1)]), indent=2)

    # -- what all scenes do -----------------------------------------------------------

    def _built(self, name: str, function: Callable[..., T], build: Callable[[], T], twin: str) -> T:
        began = perf_counter()
        result = build()
        seconds = perf_counter() - began
        self.times.append((name, seconds))
        text = body(function)
        if any("backend=backend" in line for line in text):
            text.insert(0, f"backend = {self.backend!r}")
        self.screen.part("netkit", text, "code")
        self.screen.part("the same, typed", [line for line in twin.splitlines() if line], "twin")
        self.screen.line(f"built by netkit in {seconds * 1000:.2f} ms", indent=2)
        return result

    def _asked(self, function: Callable[..., T], ask: Callable[[], T]) -> T:
        self.screen.part("asked", body(function), "code")
        return ask()

    def _pinged(self, address: str, reply: PingResult) -> None:
        time = f", time={reply.avg * 1000:.3f} ms" if reply.avg is not None else ""
        self._answer(
            f"ping {address}: {reply.sent} packets transmitted, {reply.received} received{time}",
            reply.sent == reply.received == 1,
            f"the ping of {address} was lost",
        )

    def _counted(self, packets_seen: int, what: str) -> None:
        self._answer(
            f"{what} counted {packets_seen} packet{'' if packets_seen == 1 else 's'}",
            packets_seen >= 1,
            f"{what} counted no packet",
        )

    def _answer(self, text: str, good: bool, failure: str) -> None:
        self.answers.append((text, good))
        self.screen.line(f"-> {text}", "good" if good else "bad", indent=2)
        self._expect(good, failure)

    def _expect(self, good: bool, failure: str) -> None:
        if not good:
            self.failures.append(failure)
            self.screen.line(f"FAILED: {failure}", "bad", indent=2)

    def _said(self, who: str, texts: Sequence[str]) -> None:
        self.screen.part(who, texts, "good")

    def _listing(self, netns: Namespace, command: list[str]) -> str:
        program = which(command[0]) or command[0]  # /usr/sbin is not in an ordinary user's PATH
        done = netns.run([program, *command[1:]], capture_output=True, text=True)
        self._expect(done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}")
        self.screen.part(f"host# {' '.join(command)}", done.stdout.expandtabs(4).splitlines(), "good")
        return str(done.stdout)

    # -- the end ------------------------------------------------------------------------

    def _totals(self) -> None:
        self.screen.heading("Totals")
        for name, seconds in self.times:
            self.screen.line(f"{name:<12} {seconds * 1000:8.2f} ms", indent=2)
        total = sum(seconds for _, seconds in self.times)
        self.screen.line(f"{'all built in':<12} {total * 1000:8.2f} ms", indent=2)

    def _nothing_left(self, before: Machine, mark: str) -> None:
        self.screen.heading("What is left, read from the kernel")
        left = self.left = _what_is_left(before, mark)
        self.screen.lines(described(left), indent=2)
        good = count(left) == 0
        self._expect(good, "the demo left something behind")
        self.screen.line(
            "Verdict: nothing is left." if good else "Verdict: see above.",
            "good" if good else "bad",
            indent=2,
        )
        for failure in self.failures:
            print(f"netkit demo: {failure}", file=sys.stderr)

    def as_dict(self) -> dict[str, object]:
        """What was measured and answered, for programs: `netkit demo --json`."""
        return {
            "backend": self.backend,
            "scenes": [{"name": name, "seconds": seconds} for name, seconds in self.times],
            "answers": [{"text": text, "good": good} for text, good in self.answers],
            "failures": self.failures,
            "left": self.left,
        }


def _what_is_left(before: Machine, mark: str) -> dict[str, list[str]]:
    """What the scenes left, and what the end of the helper process did, where there is one."""
    end_guard()  # which it does only if there is nothing to guard
    left = _settled(before, mark)
    if broker.running() is None:
        return left
    broker.end()
    return together(left, _settled(before, mark))


def _settled(before: Machine, mark: str) -> dict[str, list[str]]:
    """Read until nothing is left, for at most two seconds: what was killed or let go may be ending."""
    deadline = perf_counter() + 2.0
    while True:
        left = Machine(mark).new_since(before)
        if not count(left) or perf_counter() > deadline:
            return left


def _start_helper(screen: Screen) -> None:
    """Without capabilities a helper process makes the namespaces; why it may not is said at once."""
    try:
        broker.broker()
    except KernelError as problem:
        problem.add_note("Without that, `netkit demo` needs root")
        raise
    screen.line(f"Without root ({mode.decide()[1]}):")
    screen.line("a helper process makes the namespaces.")
    screen.line()


@contextmanager
def ending_politely() -> Generator[None]:
    """SIGTERM and SIGHUP end the program as an exception does, so that blocks undo what they made."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(backend: BackendName = "nftables", as_json: bool = False) -> int:
    """Play the demo; returns the exit status."""
    demo = Demo(backend, silent=as_json)
    with ending_politely():
        if mode.is_rootless():
            _start_helper(demo.screen)
        status = demo.play()
    if as_json:
        import json

        print(json.dumps(demo.as_dict()))
    return status
