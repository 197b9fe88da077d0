"""`netkit demo`: what it prints is what the kernel has, and nothing is left, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import netkit
from netkit import AccessError, Namespace, NatRule, Scope, VethPair, wait_for
from netkit._demo import leftovers, packets, page, play, scenes, twins
from netkit._demo.source import body
from tests.harness import machine, oracle, place
from tests.harness.patience import LONG
from tests.harness.tools import needs

COMMAND = [sys.executable, "-m", "netkit", "demo"]
HAS_IPTABLES = shutil.which("iptables-legacy") is not None and find_spec("iptc") is not None
NEEDS_IPTABLES = pytest.mark.skipif(not HAS_IPTABLES, reason="needs Debian's iptables, and python-iptables")
NEEDS_NFT = pytest.mark.skipif(shutil.which("nft") is None, reason="needs Debian's nftables")
BACKENDS = ["nftables", pytest.param("iptables", marks=NEEDS_IPTABLES)]
MARK = uuid4().hex  # others may run this, too, and processes are looked for on the whole machine
TITLES = ["veth", "bridge", "route table", "MASQUERADE", "DNAT"]


@pytest.fixture(scope="module", autouse=True)
def reading_is_warm(netkit_is_warm: None) -> None:
    """The current namespace's sockets live as long as its handle, which other tests may hold."""
    leftovers.Machine("warm-up")


@cache
def played(backend: str) -> str:
    """The output of one whole demo, which must have gone well."""
    before = machine.read()
    done = subprocess.run([*COMMAND, "--backend", backend], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert machine.read() == before
    return done.stdout


def scene(output: str, number: int) -> str:
    """The part of the output that belongs to one scene."""
    _, _, rest = output.partition(f"Scene {number}: {TITLES[number - 1]}\n")
    assert rest, f"scene {number} is missing"
    return re.split(r"\n\S.*\n-+\n", rest)[0]


def block(text: str, name: str) -> str:
    """The lines under a name such as `netkit`, as they were before they were indented."""
    found = re.search(rf"^  {re.escape(name)}\n((?:^ {{6}}.*\n|^\n)+)", text, re.MULTILINE)
    assert found, f"no block {name!r} in:\n{text}"
    return textwrap.dedent(found[1])


# -- what it prints -------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_five_scenes_are_played_in_order(backend: str) -> None:
    found = re.findall(r"^Scene (\d): (.+)$", played(backend), re.MULTILINE)
    assert found == [(str(number), title) for number, title in enumerate(TITLES, 1)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packets_answer(backend: str) -> None:
    output = played(backend)
    ping = r"-> ping {}: 1 packets transmitted, 1 received, time=\d+\.\d+ ms"
    assert re.search(ping.format("172.18.0.3"), scene(output, 1))
    assert "-> 1 frame sent by veth1, 1 received" in scene(output, 2)
    assert re.search(ping.format("192.168.122.220"), scene(output, 3))
    assert "outside itself has no route to 172.18.0.2: Network is unreachable" in scene(output, 4)
    assert "the server at 192.168.122.1 says: you are 192.168.122.220" in scene(output, 4)
    assert "200 OK\n        <h1>Hello from ns1</h1>" in scene(output, 5)
    assert "You come from 192.168.122.1." in scene(output, 5)


def test_scene_2_tells_the_ports() -> None:
    text = scene(played("nftables"), 2)
    assert "enp1s0 is a port of br0, up" in text
    assert "veth0 is a port of br0, up" in text
    assert re.search(r"br0 has learned that \S+ is behind veth0", text)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_scene_and_the_whole_tell_their_milliseconds(backend: str) -> None:
    output = played(backend)
    built = [
        float(found[1])
        for number in range(1, 6)
        if (found := re.search(r"built by netkit in (\d+\.\d+) ms", scene(output, number)))
    ]
    assert len(built) == 5
    assert min(built) > 0
    total = re.search(r"all built in +(\d+\.\d+) ms", output)
    assert total
    assert float(total[1]) == pytest.approx(sum(built), abs=0.05)


@NEEDS_IPTABLES
def test_iptables_lists_the_rules_a_person_would_have_typed() -> None:
    text = scene(played("iptables"), 5)
    assert "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE\n" in text
    assert "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80\n" in text
    assert "nft" not in scene(played("iptables"), 4) + text


@NEEDS_NFT
def test_nft_lists_both_rules() -> None:
    text = scene(played("nftables"), 5)
    assert 'ip saddr 172.18.0.0/24 oifname "enp1s0" counter' in text
    assert "dnat to 172.18.0.2:80 comment" in text  # the command typed has no comment
    assert "iptables" not in scene(played("nftables"), 4) + text


@needs("nft", "bridge")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_tools_of_sbin_are_found_by_an_ordinary_user(backend: str) -> None:
    """On Debian neither `nft` nor `iptables-legacy` nor `bridge` is in his PATH."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*COMMAND, "--backend", backend], capture_output=True, text=True, timeout=LONG, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is not installed here" not in done.stdout
    assert "host# bridge link" in done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_screen_is_100_columns_wide_and_plain(backend: str) -> None:
    output = played(backend)
    assert [line for line in output.splitlines() if len(line) > 100] == []
    assert "\x1b" not in output


def test_the_picture_is_of_the_network() -> None:
    _, _, after = played("nftables").partition("as the kernel has it\n")
    drawing = after.partition("Totals")[0]
    assert re.search(r"\| eth0 +\|-+\| enp1s0 +\|", drawing)
    assert re.search(r"\| veth0 +\|-+\| veth1 +\|", drawing)
    for text in ("192.168.122.1/24", "192.168.122.220/24", "port of br0", "172.18.0.2/24", "br0 (bridge)"):
        assert text in drawing
    rows = [line.rstrip() for line in drawing.splitlines() if line.startswith("  |")]
    assert len({len(row) for row in rows}) == 1


def test_the_verdict_names_what_was_compared() -> None:
    _, _, verdict = played("nftables").partition("What is left, read from the kernel\n")
    for part in ("links", "named namespaces", "namespace mounts", "nft tables", "processes"):
        assert f"  {part}: none left\n" in verdict
    assert verdict.endswith("Verdict: nothing is left.\n")


# -- the text is what ran ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "function"),
    [(1, scenes.veth), (2, scenes.bridge), (3, scenes.route_table), (4, scenes.masquerade), (5, scenes.dnat)],
)
def test_the_printed_lines_are_the_function_s(number: int, function: Any) -> None:
    printed = block(scene(played("nftables"), number), "netkit").splitlines()
    expected = body(function)
    assert printed[-len(expected) :] == expected
    assert printed[: -len(expected)] in ([], ["backend = 'nftables'"])


@pytest.mark.parametrize(
    "function", [packets.frame, packets.ping_peer, packets.ping_host, packets.who_am_i, packets.get_page]
)
def test_the_questions_fit_the_screen(function: Any) -> None:
    """A line of Python that is cut is no Python any more."""
    assert "\n".join(f"      {line}".rstrip() for line in body(function)) in played("nftables")


def test_the_printed_lines_are_a_program() -> None:
    """Copied from the screen into a block `with Scope() as lab:`, they make the same network."""
    output = played("nftables")
    names: dict[str, Any] = vars(netkit).copy()
    with Scope() as lab:
        names["lab"] = lab
        for number in (3, 4, 5):
            exec(block(scene(output, number), "netkit"), names)
        assert packets.who_am_i(names["ns1"], names["outside"]) == "192.168.122.220"
        assert packets.get_page(names["ns1"], names["outside"]).startswith("200 OK")


# -- the commands make the same ------------------------------------------------------------


@pytest.fixture
def typed() -> Iterator[Any]:
    """Runs a twin's commands as a shell does; the names they made are deleted at the end."""

    def run(commands: str, *names: str) -> dict[str, Namespace]:
        subprocess.run(place.there("sh", "-e", "-c", commands), check=True, capture_output=True)
        return {name: Namespace.open(name) for name in names}

    yield run
    for name in place.names():
        subprocess.run(place.there("ip", "netns", "delete", name), check=True)


def described(ns: Namespace) -> dict[str, Any]:
    """What `ip` says of a namespace, without what is chance or the tool's own default."""
    links = {
        link["ifname"]: (link.get("master"), _can_send(link), oracle.addresses(ns, link["ifname"]))
        for link in oracle.ip(ns, "address", "show")
    }
    routes = {
        (route["dst"], route.get("dev"), route.get("gateway"), route.get("scope"), route.get("metric"))
        for route in oracle.ip(ns, "-4", "route", "show")
    }
    return {"links": links, "routes": routes}


def test_the_twin_of_scene_1_makes_the_same(typed: Any) -> None:
    theirs = typed(twins.VETH, "ns1", "ns2")
    with Scope() as lab:
        ours = scenes.veth(lab)
        for ns in theirs.values():
            _until_settled(ns)
        assert [described(ns) for ns in ours] == [described(ns) for ns in theirs.values()]
    _close(theirs)


@pytest.mark.parametrize(
    ("build", "twin"), [(scenes.bridge, twins.BRIDGE), (scenes.route_table, twins.ROUTE_TABLE)]
)
def test_the_twins_of_scenes_2_and_3_make_the_same(typed: Any, build: Any, twin: str) -> None:
    theirs = typed(twin, "host", "outside", "ns1")
    with Scope() as lab:
        ours = build(lab)[:3]
        for ns in theirs.values():
            _until_settled(ns)
        assert [described(ns) for ns in ours] == [described(ns) for ns in theirs.values()]
    _close(theirs)


@pytest.mark.parametrize("backend", [pytest.param("nftables", marks=NEEDS_NFT), BACKENDS[1]])
def test_the_twins_of_scenes_4_and_5_make_the_same(typed: Any, backend: Any) -> None:
    commands = (twins.ROUTE_TABLE, twins.FORWARDING, twins.MASQUERADE[backend], twins.DNAT[backend])
    theirs = typed("".join(commands), "host", "outside", "ns1")
    with Scope() as lab:
        host, outside, ns1 = scenes.route_table(lab)
        scenes.masquerade(lab, host, backend)
        scenes.dnat(lab, host, backend)
        assert _rules(host, backend) == _rules(theirs["host"], backend)
        for key in ("net.ipv4.ip_forward", "net.ipv4.conf.br0.proxy_arp", "net.ipv4.neigh.br0.proxy_delay"):
            assert host.sysctl[key] == theirs["host"].sysctl[key]
        assert packets.who_am_i(ns1, outside) == "192.168.122.220"
    assert packets.who_am_i(theirs["ns1"], theirs["outside"]) == "192.168.122.220"
    assert packets.get_page(theirs["ns1"], theirs["outside"]).startswith("200 OK")
    _close(theirs)


def _close(opened: dict[str, Namespace]) -> None:
    for ns in opened.values():
        ns.close()


def _can_send(link: dict[str, Any]) -> bool:
    return {"UP", "LOWER_UP"} <= set(link["flags"])


def _until_settled(ns: Namespace) -> None:
    """The carrier of what `ip` made comes by a work queue of the kernel."""
    with oracle.Events(ns) as events:
        events.wait_until(lambda: all(_can_send(link) for link in oracle.ip(ns, "link", "show")))


def _rules(host: Namespace, backend: str) -> Any:
    if backend == "iptables":
        return oracle.iptables_legacy(host)
    rules = [item["rule"] for item in oracle.nft(host) if "rule" in item]
    return sorted(
        sorted(json.dumps(part, sort_keys=True) for part in rule["expr"] if "counter" not in part)
        for rule in rules
    )


# -- failures ---------------------------------------------------------------------------


def test_a_wrong_answer_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without MASQUERADE the server's answer finds no way back."""

    def no_masquerade(lab: Scope, host: Namespace, backend: str) -> NatRule:
        lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
        return lab.own(NatRule.masquerade(host, saddr="10.0.0.0/8", oif="enp1s0"))

    monkeypatch.setattr(scenes, "masquerade", no_masquerade)
    monkeypatch.setattr(packets, "PATIENCE", 0.2)
    assert play.Demo("nftables").play() == 1
    told = capsys.readouterr()
    assert "FAILED: TimeoutError" in told.out
    assert told.out.endswith("Verdict: nothing is left.\n")
    assert "TimeoutError" in told.err


def test_a_lost_ping_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def unreachable(ns1: Namespace) -> netkit.PingResult:
        return ns1.ping("172.18.0.99", timeout=0.1)

    monkeypatch.setattr(packets, "ping_peer", unreachable)
    assert play.Demo("nftables").play() == 1
    assert "FAILED: the ping of 172.18.0.3 was lost" in capsys.readouterr().out


def test_what_is_left_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Namespace.current()
    left: list[Namespace | VethPair] = []

    def careless(lab: Scope) -> Any:
        left.append(something())
        return build(lab)

    def something() -> Namespace | VethPair:
        if place.ROOTLESS:  # where nothing can be left but names
            return Namespace("left0").create()
        return VethPair(here, here, name="left0", peer_name="left1").create()

    build = scenes.veth
    monkeypatch.setattr(scenes, "veth", careless)
    try:
        assert play.Demo("nftables").play() == 1
    finally:
        left[0].delete()
        here.close()
    told = capsys.readouterr()
    assert ("named namespaces: left0" if place.ROOTLESS else "links: left0 (veth), left1 (veth)") in told.out
    assert "the demo left something behind" in told.err


# -- what counts as left --------------------------------------------------------------------


def _new(make: Any) -> dict[str, list[str]]:
    """What `leftovers` finds of what `make` makes, which is a context manager."""
    before = leftovers.Machine(MARK)
    with make():
        found = leftovers.Machine(MARK).new_since(before)
    assert leftovers.count(leftovers.Machine(MARK).new_since(before)) == 0
    return {part: texts for part, texts in found.items() if texts}


def test_a_namespace_that_is_held_is_left() -> None:
    found = _new(Namespace)
    assert list(found) == ["descriptors of other namespaces"]
    assert any("-> net:[" in text for text in found["descriptors of other namespaces"])
    assert any("-> socket:[" in text for text in found["descriptors of other namespaces"])


def test_a_name_and_a_mount_are_left() -> None:
    found = _new(lambda: Namespace("left", persistent=not place.ROOTLESS))
    assert found["named namespaces"] == ["left"]
    assert found["namespace mounts"] == ["/run/netns/left"]


def test_an_nft_table_is_left() -> None:
    with Namespace.current() as here:
        if place.ROOTLESS:  # where none can be
            with pytest.raises(AccessError):
                NatRule.masquerade(here, oif="lo", backend="nftables").create()
            return
        found = _new(lambda: NatRule.masquerade(here, oif="lo", backend="nftables"))
    (table,) = found["nft tables"]
    assert table.startswith("inet netkit-")


def test_a_process_with_the_mark_is_left() -> None:
    """Also when it is nobody's child any more."""
    orphan = "sleep 60 >/dev/null 2>&1 & echo $!"
    before = leftovers.Machine(MARK)
    done = subprocess.run(
        ["sh", "-c", orphan], env={**os.environ, leftovers.MARK: MARK}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert leftovers.Machine(MARK).new_since(before)["processes"] == [f"{done.stdout.strip()} sleep 60"]
        assert leftovers.Machine("other").new_since(before)["processes"] == []
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_a_thread_that_stayed_inside_is_left() -> None:
    inside, leave = threading.Event(), threading.Event()
    with Namespace() as ns:
        if place.refuses_to_enter(ns):
            return
        before = leftovers.Machine(MARK)

        def stay() -> None:
            with ns.entered():
                inside.set()
                leave.wait(LONG)

        thread = threading.Thread(target=stay)
        thread.start()
        assert inside.wait(LONG)
        found = leftovers.Machine(MARK).new_since(before)["descriptors of other namespaces"]
        leave.set()
        thread.join()
    assert any(text.startswith("thread ") for text in found)


# -- interrupted ------------------------------------------------------------------------------


class Playing:
    """A demo that waits for its reader: its pipe holds one write (O_DIRECT: each takes a page)."""

    def __init__(self) -> None:
        reading, writing = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            COMMAND, stdout=writing, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        os.close(writing)
        self.process.stdout = os.fdopen(reading)

    def until(self, text: str) -> None:
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line, f"the demo ended before {text!r}"

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        os.killpg(self.process.pid, number)
        output, errors = self.process.communicate(timeout=LONG)
        return self.process.returncode, output, errors


@pytest.mark.parametrize("text", ["Scene 1", "Scene 2", "built by netkit", "Scene 3", "Scene 4", "you are"])
def test_ctrl_c_leaves_nothing(text: str) -> None:
    before = machine.read()
    demo = Playing()
    demo.until(text)
    status, output, errors = demo.end(signal.SIGINT)
    assert status == 130
    assert "Interrupted: what was made is undone." in output
    assert output.endswith("Verdict: nothing is left.\n")
    assert errors == ""
    assert machine.read() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_other_signals_leave_nothing(number: signal.Signals) -> None:
    before = machine.read()
    demo = Playing()
    demo.until("Scene 4")
    status, _, errors = demo.end(number)
    assert status == (-9 if number == signal.SIGKILL else 128 + number)
    assert errors == ""
    if number == signal.SIGKILL:  # what the guard and the kernel do takes a moment
        wait_for(lambda: machine.read() == before, timeout=LONG)
    assert machine.read() == before


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    demo = Playing()
    demo.until("Scene 2")
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    _, errors = demo.process.communicate(timeout=LONG)
    assert demo.process.returncode == 1
    assert errors == ""


# -- on a terminal ------------------------------------------------------------------------------


def _on_a_terminal(**environment: str) -> str:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            COMMAND, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        os.close(theirs)
        text = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert process.wait(LONG) == 0, text
    finally:
        os.close(ours)
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_colours_are_for_terminals() -> None:
    assert "\x1b[36m" in _on_a_terminal(TERM="xterm", NO_COLOR="")


@pytest.mark.parametrize("environment", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(environment: dict[str, str]) -> None:
    assert "\x1b[" not in _on_a_terminal(**environment)


# -- the web server of scene 5 -------------------------------------------------------------------


def test_the_web_server_ends_with_its_standard_input(host: Namespace) -> None:
    server = host.popen([sys.executable, "-I", page.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    packets.wait_for_line(server)
    assert host.call(packets.fetch, "127.0.0.1").startswith("200 OK\n<h1>Hello from ns1</h1>")
    server.communicate(timeout=LONG)
    assert server.returncode == 0
    with host.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", 80))


def test_a_web_server_that_cannot_listen_is_told(host: Namespace) -> None:
    with host.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 80))
        taken.listen()
        server = host.popen(
            [sys.executable, "-I", page.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with pytest.raises(EOFError):
            packets.wait_for_line(server)
        server.communicate(timeout=LONG)


def test_the_web_server_is_a_file_of_the_package() -> None:
    assert Path(page.__file__).parent == Path(scenes.__file__).parent


def test_for_programs_it_is_one_json_object() -> None:
    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True, timeout=2 * LONG)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert [each["name"] for each in told["scenes"]] == TITLES
    assert all(0 < each["seconds"] < LONG for each in told["scenes"])
    assert len(told["answers"]) >= 6
    assert all(each["good"] for each in told["answers"])
    assert (told["backend"], told["failures"]) == ("nftables", [])
    assert not any(told["left"].values())
