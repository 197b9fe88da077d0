"""The whole rule set that each combination of options makes, by both backends, as a person reads it.

The files in `published/` have a section for each call, with what nft(8) and iptables-legacy(8) list then;
NETKIT_WRITE_GOLDEN=1 writes them anew, to be reviewed by reading. What nft lists is compared with what it
lists after loading the file, for its spelling changes with its version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from netkit import Bridge, Namespace, PortMapping, Scope
from tests.harness.tools import BACKENDS, needs

pytestmark = [pytest.mark.kernel, needs("nft", "iptables-legacy")]

HERE = Path(__file__).parent / "published"
PORTS = (("8080", "80"), ("8080-8082", "80-82"))
PROTOS = ("tcp", ["tcp", "udp", "sctp"])
# Host address, and the target that goes with it; None is a namespace with an address of each family.
PLACES: dict[str, tuple[str | None, str | None]] = {
    "any-both": (None, None),
    "any-ip": (None, "172.18.0.2"),
    "any-ip6": (None, "fd18::2"),
    "all-ip": ("0.0.0.0", None),
    "all-ip6": ("::", None),
    "one-ip": ("192.0.2.1", "172.18.0.2"),
    "one-ip6": ("2001:db8::1", "fd18::2"),
    "loopback-ip": ("127.0.0.1", "172.18.0.2"),
    "loopback-ip6": ("::1", "fd18::2"),
}
SUFFIXES = {"nftables": "nft", "iptables": "iptables"}


class World(NamedTuple):
    host: Namespace
    box: Namespace


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Scope() as lab:
        host, box = lab.own(Namespace()), lab.own(Namespace())
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        bridge.connect(box, name="port2", peer_address=["172.18.0.2/24", "fd18::2/64"], default_route=True)
        yield World(host, box)


def sections(world: World, place: str, backend: Literal["nftables", "iptables"]) -> Iterator[tuple[str, str]]:
    """The call as a person writes it, and the rule set that it makes."""
    host_ip, target = PLACES[place]
    for (port, to_port), proto in product(PORTS, PROTOS):
        shown = "(box, " + repr(to_port) + ")" if target is None else repr((target, to_port))
        more = "" if host_ip is None else f", host_ip={host_ip!r}"
        to = (world.box if target is None else target, to_port)
        words = f"host.publish({port!r}, to={shown}, proto={proto!r}{more})"
        mapping = world.host.publish(
            port, to=to, proto=proto, host_ip=host_ip, reserve=False, backend=backend
        )
        with mapping:
            yield words, listed(world.host, backend)
    if place == "any-both":
        yield from detached(world, backend)


def detached(world: World, backend: Literal["nftables", "iptables"]) -> Iterator[tuple[str, str]]:
    """Two that leave for the shared place, and one that stays."""
    host, box = world
    mappings: list[PortMapping] = []
    for port in (8080, 8081, 8082):
        mappings.append(host.publish(port, to=(box, 80), reserve=False, backend=backend).create())
    for mapping in mappings[:2]:
        mapping.detach()
    words = "host.publish(PORT, to=(box, 80)) of 8080, 8081 and 8082, the first two detached"
    yield words, listed(host, backend)
    for mapping in mappings[:2]:
        mapping.adopt()
    for mapping in mappings:
        mapping.delete()
    assert listed(host, backend) == ""


def listed(host: Namespace, backend: str) -> str:
    """The rule set without what differs from time to time."""
    if backend == "nftables":
        return tidy(said(host, "nft", "list", "ruleset"))
    tables = (("iptables-legacy", "nat"), ("iptables-legacy", "raw"), ("ip6tables-legacy", "nat"))
    lines: list[str] = []
    for program, table in tables:
        found = said(host, program, "-w", "-t", table, "-S").splitlines()
        lines += [f"{program} -t {table} {line}" for line in found if line.startswith("-A ")]
    return tidy("\n".join(lines) + "\n" if lines else "")


def tidy(text: str) -> str:
    text = re.sub(r"(netkit-ports|NETKIT-[A-Z]+)-[0-9a-f]{8}\b", r"\1-0", text)
    text = re.sub(r" # progname .*| # owner .*", "", text)
    return text.replace("\tflags owner\n", "").replace("\t", "  ").replace("\n\n", "\n")


def said(host: Namespace, *argv: str, given: str | None = None) -> str:
    done = host.run([*argv], capture_output=True, text=True, check=True, input=given)
    return str(done.stdout)


def read(path: Path) -> dict[str, str]:
    parts = path.read_text().split("# ")[1:]
    return {words: text.strip("\n") + "\n" for words, _, text in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rule_set_is_the_one_that_was_reviewed(
    world: World, place: str, backend: Literal["nftables", "iptables"]
) -> None:
    path = HERE / f"{place}.{SUFFIXES[backend]}"
    made = dict(sections(world, place, backend))
    if os.environ.get("NETKIT_WRITE_GOLDEN"):
        path.write_text("\n".join(f"# {words}\n{text}" for words, text in made.items()))
    golden = read(path)
    assert list(made) == list(golden)
    for words, text in made.items():
        expected = golden[words] if text else ""
        if backend == "nftables":
            with Namespace() as elsewhere:
                said(elsewhere, "nft", "-f", "-", given=expected)
                expected = tidy(said(elsewhere, "nft", "list", "ruleset"))
        assert text == expected, words
