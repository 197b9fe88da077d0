"""What the guard does to legacy iptables: chains of a dead process go in one commit, those of others stay."""

from __future__ import annotations

import subprocess

import pytest

from netkit import Namespace
from netkit._system import iptables_command
from netkit._system.iptables_command import delete_chains
from netkit.errors import BackendError
from tests.harness.patience import LONG
from tests.harness.tools import BACKENDS

pytestmark = [
    pytest.mark.capable,
    pytest.mark.parametrize("backend", BACKENDS[1:]),
    pytest.mark.parametrize("family", [4, 6]),
]
OURS = """*nat
:NETKIT-PORTS-1a2b3c4d -
:NETKIT-MASQ-1a2b3c4d -
:NETKIT-PORTS -
:NETKIT-PORTS-99999999 -
-A PREROUTING -m comment --comment "a word, \\"two\\"" -j RETURN
-A PREROUTING -m addrtype --dst-type LOCAL -j NETKIT-PORTS-1a2b3c4d
-A PREROUTING -m addrtype --dst-type LOCAL -j NETKIT-PORTS-99999999
-A OUTPUT -m addrtype --dst-type LOCAL -j NETKIT-PORTS-1a2b3c4d
-A POSTROUTING -m conntrack --ctstate DNAT -j NETKIT-MASQ-1a2b3c4d
-A NETKIT-PORTS-1a2b3c4d -p tcp -m tcp --dport 80 -j RETURN
-A NETKIT-PORTS-1a2b3c4d -p tcp -m tcp --dport 81 -j RETURN
COMMIT
"""


def program(family: int) -> str:
    return "iptables-legacy" if family == 4 else "ip6tables-legacy"


def fill(host: Namespace, family: int) -> None:
    restore = [f"{program(family)}-restore", "-w", "5"]
    host.run(restore, input=OURS, text=True, check=True, timeout=LONG)


def listed(host: Namespace, family: int) -> str:
    argv = [program(family), "-w", "-t", "nat", "-S"]
    return str(host.run(argv, capture_output=True, text=True, check=True, timeout=LONG).stdout)


def test_chains_go_and_others_stay(host: Namespace, family: int, backend: str) -> None:
    fill(host, family)
    before = listed(host, family)
    assert host.call(delete_chains, family, "nat", "1a2b3c4d", True)
    assert listed(host, family) == before
    assert host.call(delete_chains, family, "nat", "1a2b3c4d")
    assert listed(host, family).splitlines() == [
        line for line in before.splitlines() if "1a2b3c4d" not in line
    ]
    assert not host.call(delete_chains, family, "nat", "1a2b3c4d")


def test_a_change_in_between(
    host: Namespace, family: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(host, family)
    real = iptables_command._restore
    commits: list[list[str]] = []

    def late(version: int, table: str, changes: list[str]) -> None:
        if not commits:
            jump = ["-A", "OUTPUT", "-j", "NETKIT-PORTS-1a2b3c4d"]
            subprocess.run([program(family), "-w", "-t", "nat", *jump], check=True, timeout=LONG)
        commits.append(changes)
        real(version, table, changes)

    monkeypatch.setattr(iptables_command, "_restore", late)
    assert host.call(delete_chains, family, "nat", "1a2b3c4d")
    assert len(commits) == 2
    assert "1a2b3c4d" not in listed(host, family)


def test_all_or_nothing(host: Namespace, family: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(host, family)
    before, real = listed(host, family), iptables_command._restore

    def refused(version: int, table: str, changes: list[str]) -> None:
        real(version, table, [*changes, "-X NO-SUCH-CHAIN"])

    monkeypatch.setattr(iptables_command, "_restore", refused)
    with pytest.raises(BackendError, match="failed with status"):
        host.call(delete_chains, family, "nat", "1a2b3c4d")
    assert listed(host, family) == before
