"""`netkit demo` tells what went wrong, and what is left, by its status."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any
from uuid import uuid4

import pytest

import netkit
from netkit import AccessError, Namespace, NatRule, Scope, VethPair
from netkit._demo import leftovers, packets, play, scenes
from tests.harness import place
from tests.harness.demo import reading_is_warm
from tests.harness.patience import LONG

__all__ = ["reading_is_warm"]  # the fixture

pytestmark = pytest.mark.usefixtures("reading_is_warm")
MARK = uuid4().hex  # others may run this, too, and processes are looked for on the whole machine


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
