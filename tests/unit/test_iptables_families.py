"""A kernel without iptables' tables for IPv6: rules of no family are for IPv4, as in nftables."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from netkit import KernelError
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

    def exists(self, rule: Any) -> bool:
        return rule["family"] in self.families


class Runtime:
    survives = False


def backend(number: int) -> tuple[Iptables, Worker]:
    made, worker = Iptables.__new__(Iptables), Worker(number)
    made._runtime, made._families, made.worker = Runtime(), (4, 6), worker  # type: ignore[assignment]
    return made, worker


def test_what_is_for_both_is_for_ipv4() -> None:
    iptables, worker = backend(errno.ENOENT)
    (token,) = iptables.add([masquerade(oif="eth0")])
    assert worker.families == [4]
    assert iptables.exists(token)
    assert iptables.find(masquerade(oif="eth0"))


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
