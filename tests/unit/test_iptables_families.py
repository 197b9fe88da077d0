"""A kernel without iptables' tables for IPv6: rules of no family are for IPv4, as in nftables."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from netkit import KernelError
from netkit._nat import iptables_noted
from netkit._nat.backend import Iptables
from netkit._spec.nat import masquerade
from netkit.errors import kernel_error


class Worker:
    """Has no table for IPv6."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.families: list[int] = []

    def transaction(self, add: list[Any]) -> None:
        families = [rule["family"] for rule in add]
        if 6 in families:
            raise kernel_error("add rules with iptables", self.number)
        self.families += families

    def list(self, family: int, table: str) -> list[str]:
        if family == 6:
            raise kernel_error(f"list iptables' table {table}", self.number)
        return []

    def exists(self, rule: Any) -> bool:
        if rule["family"] == 6:
            raise kernel_error("look for a rule in iptables", self.number)
        return 4 in self.families


class Runtime:
    place = "here"

    def __init__(self, survives: bool) -> None:
        self.survives = survives


def backend(number: int, survives: bool = False) -> tuple[Iptables, Worker]:
    made, worker = Iptables.__new__(Iptables), Worker(number)
    made._runtime, made.worker = Runtime(survives), worker  # type: ignore[assignment]
    return made, worker


# No table; no part of the kernel for it; no IPv6 at all (ipv6.disable=1).
ABSENT = pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOPROTOOPT, errno.EAFNOSUPPORT])


@ABSENT
def test_what_is_for_both_is_for_ipv4(number: int) -> None:
    iptables, worker = backend(number)
    (token,) = iptables.add([masquerade(oif="eth0")])
    assert worker.families == [4]
    assert iptables.exists(token)


@ABSENT
def test_another_process_finds_it(number: int) -> None:
    iptables, worker = backend(number)
    assert iptables.take(masquerade(oif="eth0")) is None
    worker.families = [4]  # what somebody has detached
    token = iptables.take(masquerade(oif="eth0"))
    assert token is not None
    assert [rule["family"] for rule in token] == [4]
    with pytest.raises(KernelError):
        iptables.take(masquerade(oif="eth0", family=6))


@ABSENT
def test_nothing_is_noted_of_what_was_not_added(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard removes what is noted: a stranger's equal rule, were it still noted when ours has gone."""
    noted: dict[int, tuple[object, ...]] = {}

    def note(*entry: object) -> int:
        noted[len(noted) + 1] = entry
        return len(noted)

    monkeypatch.setattr(iptables_noted, "note", note)
    monkeypatch.setattr(iptables_noted, "strike", noted.pop)
    iptables, _ = backend(number, survives=True)
    (token,) = iptables.add([masquerade(oif="eth0")])
    assert [entry[2] for entry in noted.values()] == [4]
    token.strike()
    assert noted == {}


def test_what_is_for_ipv6_is_refused() -> None:
    iptables, worker = backend(errno.ENOENT)
    with pytest.raises(KernelError):
        iptables.add([masquerade(oif="eth0"), masquerade(oif="eth0", family=6)])
    assert worker.families == []


def test_another_refusal_is_one() -> None:
    iptables, worker = backend(errno.EINVAL)
    with pytest.raises(KernelError):
        iptables.add([masquerade(oif="eth0")])
    assert worker.families == []
