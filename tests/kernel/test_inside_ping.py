"""Pings from a namespace, against what is on the wire."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from netkit import Namespace, PingResult, SpecError, VethPair
from tests.harness.inside import box, nobody_has_moved, pair
from tests.harness.oracle import run_in
from tests.harness.patience import AT_ONCE, LONG, in_time

__all__ = ["box", "nobody_has_moved", "pair"]  # the fixtures

pytestmark = pytest.mark.usefixtures("nobody_has_moved")


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_ping(host: Namespace, pair: VethPair, address: str) -> None:
    result = host.ping(address)
    assert isinstance(result, PingResult)
    assert (result.sent, result.received, result.loss) == (1, 1, 0.0)
    assert result.min == result.avg == result.max
    assert result.max is not None
    assert 0 < result.max < 2


@pytest.mark.parametrize(("address", "overhead"), [("10.0.0.2", 20 + 8), ("fd00::2", 40 + 8)])
def test_ping_count_interval_and_size_on_the_wire(
    host: Namespace, box: Namespace, pair: VethPair, address: str, overhead: int
) -> None:
    protocol = 0x0800 if "." in address else 0x86DD
    echo = b"\x08\x00" if "." in address else b"\x80\x00"
    begins = 20 if "." in address else 40
    with box.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol)) as sniffer:
        sniffer.bind(("eth0", protocol))
        start = time.monotonic()
        result = host.ping(address, count=4, interval=0.02, size=100, timeout=LONG)
        took = time.monotonic() - start
        sniffer.setblocking(False)
        packets = []
        while True:
            try:
                packets.append(sniffer.recvfrom(2048))
            except BlockingIOError:
                break
    requests = [data for data, _ in packets if data[begins : begins + 2] == echo]
    assert [len(data) for data in requests] == [100 + overhead] * 4
    sequences = [struct.unpack_from("!H", data, begins + 6)[0] for data in requests]
    assert sequences == list(range(sequences[0], sequences[0] + 4))
    assert (result.sent, result.received, result.loss) == (4, 4, 0.0)
    assert took >= 3 * 0.02
    assert result.min is not None
    assert result.avg is not None
    assert result.max is not None
    assert 0 < result.min <= result.avg <= result.max < took
    assert str(result).startswith("4 sent, 4 received, 0% loss, min/avg/max ")


def test_ping_with_every_second_packet_lost(host: Namespace, box: Namespace, pair: VethPair) -> None:
    run_in(box, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; }")
    run_in(box, "nft", "add rule ip t c icmp type echo-request numgen inc mod 2 == 0 drop")
    result = host.ping("10.0.0.2", count=4, interval=0, timeout=AT_ONCE)
    assert (result.sent, result.received, result.loss) == (4, 2, 0.5)
    assert len(result.times) == 2


@pytest.mark.parametrize(
    "address",
    ["10.0.0.9", "fd00::9", "203.0.113.1", "2001:db8::1"],
    ids=["link", "link6", "off", "off6"],
)
def test_an_unreachable_target_is_loss(host: Namespace, pair: VethPair, address: str) -> None:
    result = host.ping(address, timeout=0.1)
    assert (result.sent, result.received, result.loss) == (1, 0, 1.0)
    assert (result.min, result.avg, result.max) == (None, None, None)


def test_the_timeout_is_kept(host: Namespace, box: Namespace, pair: VethPair) -> None:
    run_in(box, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; policy drop; }")

    def give_up() -> None:
        start = time.monotonic()
        assert host.ping("10.0.0.2", timeout=0.2).loss == 1.0
        assert 0.19 < time.monotonic() - start < 1

    in_time(give_up)


def test_ping_oneself_and_a_link_local_address(host: Namespace, box: Namespace, pair: VethPair) -> None:
    assert host.ping("127.0.0.1").loss == host.ping("::1").loss == 0
    local = next(str(each.ip) for each in box.links["eth0"].addresses if each.scope == "link")
    assert host.ping(f"{local}%eth0", timeout=3).loss == 0


def test_ping_needs_no_binary(host: Namespace, pair: VethPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert host.ping("10.0.0.2").loss == 0


@pytest.mark.parametrize(
    "bad",
    [
        lambda ns: ns.ping("10.0.0.256"),
        lambda ns: ns.ping("host"),
        lambda ns: ns.ping("10.0.0.2/24"),
        lambda ns: ns.ping("10.0.0.2", count=0),
        lambda ns: ns.ping("10.0.0.2", count=True),
        lambda ns: ns.ping("10.0.0.2", size=-1),
        lambda ns: ns.ping("10.0.0.2", size=70000),
        lambda ns: ns.ping("10.0.0.2", timeout=-1),
        lambda ns: ns.ping("10.0.0.2", interval="1"),
    ],
)
def test_bad_values_of_a_ping(host: Namespace, bad: Callable[[Namespace], object]) -> None:
    with pytest.raises(SpecError):
        bad(host)
