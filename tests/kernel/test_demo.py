"""`netkit demo`: what it prints is what the kernel has, and the text is what ran."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from functools import cache
from typing import Any

import pytest

import netkit
from netkit import Scope
from netkit._demo import packets, scenes
from netkit._demo.source import body
from tests.harness import machine
from tests.harness.demo import COMMAND, reading_is_warm
from tests.harness.patience import LONG
from tests.harness.tools import BACKENDS, needs, needs_iptables

__all__ = ["reading_is_warm"]  # the fixture

pytestmark = pytest.mark.usefixtures("reading_is_warm")
TITLES = ["veth", "bridge", "route table", "MASQUERADE", "DNAT"]


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


@needs_iptables
def test_iptables_lists_the_rules_a_person_would_have_typed() -> None:
    text = scene(played("iptables"), 5)
    assert "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE\n" in text
    assert "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80\n" in text
    assert "nft" not in scene(played("iptables"), 4) + text


@needs("nft")
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


# -- the web server of scene 5 -------------------------------------------------------------------


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
