"""ns.pyroute2(): a real pyroute2 socket in the namespace, for what netkit does not wrap."""

from __future__ import annotations

import os
import subprocess
import sys

import pyroute2
import pytest

from netkit import Namespace, VethPair
from tests.harness import place
from tests.harness.here import HERE, descriptors, identity
from tests.harness.leaks import tasks_in_time
from tests.harness.oracle import ip, link, run_in


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def seen(ipr: object) -> list[str]:
    return sorted(message.get("IFLA_IFNAME") for message in ipr.get_links())  # type: ignore[attr-defined]


def test_it_speaks_to_the_namespace(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "p0")
    before = identity(HERE)
    with Namespace() as other, host.pyroute2() as ipr, other.pyroute2() as ipr2:
        assert isinstance(ipr, pyroute2.IPRoute)
        assert seen(ipr) == names(host) == ["lo", "p0", "v0"]
        assert seen(ipr2) == ["lo"]
        if not place.refuses_to_enter(other):
            with other.entered():  # wherever the thread is
                assert seen(ipr) == ["lo", "p0", "v0"]
        assert identity(HERE) == before


def test_it_makes_what_netkit_does_not_wrap(host: Namespace) -> None:
    with VethPair(host, host, name="v0", peer_name="p0") as pair, host.pyroute2() as ipr:
        ipr.tc("add", "tbf", pair.link.ifindex, 0x10000, rate="1mbit", burst=1024 * 2, latency="200ms")
        assert "tbf" in run_in(host, "tc", "qdisc", "show", "dev", "v0")
        ipr.link("add", ifname="m0", kind="macvlan", link=pair.link.ifindex, macvlan_mode="bridge")
        assert link(host, "m0")["linkinfo"]["info_kind"] == "macvlan"
        assert host.links["m0"].kind == "macvlan"


def test_errors_carry_the_kernels_words(host: Namespace) -> None:
    with (
        host.pyroute2() as ipr,
        pytest.raises(pyroute2.NetlinkError, match="mtu less than device minimum"),
        VethPair(host, host, name="v0", peer_name="p0") as pair,
    ):
        ipr.link("set", index=pair.link.ifindex, mtu=10)


def test_closed_it_leaves_nothing(host: Namespace) -> None:
    host.pyroute2().close()
    before, threads = descriptors(), len(os.listdir("/proc/self/task"))
    for _ in range(10):
        with host.pyroute2() as ipr:
            assert seen(ipr) == ["lo"]
        host.pyroute2().close()
    assert descriptors() == before
    assert tasks_in_time(threads) <= threads


def test_a_borrowed_one_and_the_current_one(host: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as handle, handle.pyroute2() as ipr:
        assert seen(ipr) == ["lo"]
    with Namespace.current() as here, here.pyroute2() as ipr:
        assert seen(ipr) == names(here)


def test_it_outlives_the_handle_and_is_closed_by_whom_it_was_given_to() -> None:
    with Namespace() as ns:
        ipr = ns.pyroute2()
    try:
        assert seen(ipr) == ["lo"]  # a socket keeps its namespace alive
    finally:
        ipr.close()


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, netkit; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
