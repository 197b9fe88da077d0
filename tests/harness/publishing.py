"""Published ports by either backend: tests that are run with both, and what the kernel's tools show."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

import netkit._nat.publish
from netkit import Bridge, Namespace, Scope
from netkit._nat.backend import check_name
from tests.harness.patience import LONG
from tests.harness.tools import BACKENDS, MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = (("iptables-legacy", "nat"), ("iptables-legacy", "raw"), ("ip6tables-legacy", "nat"))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The whole test with each backend: it is what mappings of this process get that name none."""
    name: str = request.param

    def chosen(given: str | None) -> str | None:
        return check_name(given) or name

    monkeypatch.setattr(netkit._nat.publish, "check_name", chosen)
    return name


class World(NamedTuple):
    """A host, and a box on its bridge."""

    host: Namespace
    box: Namespace


@pytest.fixture
def world() -> Iterator[World]:
    """The box has 172.18.0.2 and fd18::2, the host 172.18.0.1 and fd18::1."""
    with Scope() as lab:
        host, box = lab.own(Namespace()), lab.own(Namespace())
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        addresses = ["172.18.0.2/24", "fd18::2/64"]
        bridge.connect(box, name="port2", peer_address=addresses, default_route=True)
        yield World(host, box)


def ended(client: socket.socket, address: str) -> bool:
    """Whether a connection to port 8080 is refused, or broken off at once."""
    try:
        client.connect((address, 8080))
        client.recv(1)
    except (ConnectionResetError, ConnectionRefusedError):
        return True
    return False


def ruleset(ns: Namespace) -> str:
    """Everything of both firewalls but the policies of built-in chains; empty if there is nothing."""
    found = [_said(ns, "nft", "list", "ruleset")]
    for program, table in _TABLES if "iptables-legacy" not in MISSING else ():
        lines = _said(ns, program, "-w", "-t", table, "-S").splitlines()
        found += [f"{line}\n" for line in lines if not line.startswith("-P ")]
    return "".join(found)


def _said(ns: Namespace, *argv: str) -> str:
    return str(ns.run([*argv], capture_output=True, text=True, check=True).stdout)


def shows(text: str, port: int, target: str, target_port: int, proto: str = "tcp") -> bool:
    """Whether the rule set leads this port there, in whatever words."""
    address = re.escape(target)
    in_nft = rf"{proto} \. {port} counter packets \d+ bytes \d+ : {address} \. {target_port}\b"
    in_iptables = (
        rf"-p {proto} -m {proto} --dport {port} -j DNAT --to-destination \[?{address}\]?:{target_port}\b"
    )
    return re.search(f"{in_nft}|{in_iptables}", text) is not None


def is_detached(text: str) -> bool:
    """Whether something stands where what is detached does."""
    return "table ip netkit {" in text or re.search(r"^-N NETKIT-PORTS$", text, re.MULTILINE) is not None


def guards(text: str) -> int:
    """How many chains keep loopback addresses out."""
    return text.count("chain publish_guard") + len(re.findall(r"^-N NETKIT-GUARD", text, re.MULTILINE))


def left_in_the_end(ns: Namespace) -> str:
    """The rule set when the guard of a process that was killed has had its time."""
    deadline = time.monotonic() + LONG
    while (text := ruleset(ns)) and time.monotonic() < deadline:
        continue  # each look is four processes' ends that are waited for
    return text
