"""The rules of iptables that the page on published ports shows are those that stand in the kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netkit import Bridge, Namespace, Scope
from tests.harness.oracle import iptables_legacy
from tests.harness.tools import BACKENDS

PAGE = Path(__file__).parents[2] / "docs" / "nat.md"
CHAIN = re.compile(r"\b(NETKIT-\w+)-[0-9a-f]{8}\b")  # the ending is random


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_what_a_published_port_is_in_iptables(backend: str, host: Namespace) -> None:
    shown = re.findall(r"^-t (\w+) (-A NETKIT.*|-A \w+ .*NETKIT.*)$", PAGE.read_text(), re.MULTILINE)
    with Scope() as lab:
        box = lab.own(Namespace())
        bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
        bridge.connect(box, name="veth2", peer_address="172.18.0.2/24", default_route=True)
        lab.own(host.publish(8080, to="172.18.0.2:80", backend="iptables"))
        rules = [
            (table, CHAIN.sub(r"\1", rule))
            for table in ("nat", "raw")
            for rule in iptables_legacy(host, table)
            if rule.startswith("-A ")
        ]
    assert len(shown) == 9
    assert sorted(rules) == sorted([(table, CHAIN.sub(r"\1", rule)) for table, rule in shown])
