"""Captures against what passed: pings, transfers, files that tshark reads, and every end of one."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from netkit import Link, Namespace, NotFoundError, SpecError, StateError, VethPair, WaitTimeout
from netkit._capture import Capture
from tests.harness.patience import LONG, in_time
from tests.harness.tools import needs

ECHO, REPLY = 8, 0


def test_both_directions_in_their_order(pair: VethPair) -> None:
    with pair.peer.capture("icmp") as packets:
        assert pair.link.netns.ping("10.0.0.2", count=2, interval=0).received == 2
    kinds = [(packet.direction, packet.icmp.type) for packet in packets if packet.icmp]
    assert sorted(kinds) == [("in", ECHO), ("in", ECHO), ("out", REPLY), ("out", REPLY)]
    assert [packet.time for packet in packets] == sorted(packet.time for packet in packets)
    assert {packet.link for packet in packets} == {"far"}
    assert (packets.received, packets.dropped, packets.running) == (4, 0, False)
    assert len(list(packets)) == len(packets.captured()) == 4  # it can be read again


def test_it_begins_and_ends_with_its_block(pair: VethPair) -> None:
    ping = pair.link.netns.ping
    ping("10.0.0.2")
    with pair.link.capture("icmp") as packets:
        ping("10.0.0.2")
    ping("10.0.0.2")
    assert [packet.icmp.type for packet in packets if packet.icmp] == [ECHO, REPLY]


def test_ipv6_and_arp_are_read(pair: VethPair) -> None:
    with pair.link.capture() as packets:
        assert pair.link.netns.ping("fd00::2").received == 1
        assert pair.link.netns.ping("10.0.0.2").received == 1
    assert [str(p.dst) for p in packets if p.icmp and p.icmp.type == 128] == ["fd00::2"]
    assert [(str(p.arp.sender), str(p.arp.target)) for p in packets if p.arp and p.arp.op == 1] == [
        ("10.0.0.1", "10.0.0.2")
    ]
    first = next(p for p in packets if p.arp)
    assert first.ethernet is not None
    assert first.ethernet.src == pair.link.mac


def test_a_namespace_s_links_together(pair: VethPair) -> None:
    host = pair.link.netns
    with host.capture("icmp") as packets:
        host.ping("127.0.0.1")
        host.ping("10.0.0.2")
        with Namespace() as third, VethPair(host, third, name="new", peer_name="x", address="10.1.0.1/24",
                                            peer_address="10.1.0.2/24"):  # fmt: skip
            host.ping("10.1.0.2")
            packets.wait_for(lambda packet: packet.link == "new", timeout=LONG)
    assert [packet.link for packet in packets] == ["lo", "lo", "near", "near", "new", "new"]


def test_live_iteration_waits_for_more(pair: VethPair) -> None:
    with pair.link.capture("icmp") as packets:
        pinging = threading.Thread(target=pair.link.netns.ping, args=("10.0.0.2", 3, 0.05))
        pinging.start()
        seen = list(itertools.islice(packets, 6))
        pinging.join()
    assert [packet.icmp.type for packet in seen if packet.icmp] == [ECHO, REPLY] * 3


def test_async_iteration(pair: VethPair) -> None:
    async def main() -> list[int]:
        with pair.link.capture("icmp") as packets:
            ping = asyncio.create_task(pair.link.netns.ping_async("10.0.0.2", 2, 0.05))
            seen: list[int] = []
            async for packet in packets:
                assert packet.icmp is not None
                seen.append(packet.icmp.type)
                if len(seen) == 4:
                    break
            assert (await ping).received == 2
        return seen + [packet.icmp.type async for packet in packets if packet.icmp]

    assert asyncio.run(main()) == [ECHO, REPLY] * 4


def test_waiting_for_one(pair: VethPair) -> None:
    with pair.link.capture("icmp") as packets:
        pair.link.netns.ping("10.0.0.2")
        found = packets.wait_for(lambda packet: packet.icmp and packet.icmp.type == REPLY, timeout=LONG)
        assert str(found.src) == "10.0.0.2"
        with pytest.raises(WaitTimeout, match=r"none of 2 packets was the one within 0\.05 s"):
            packets.wait_for(lambda packet: packet.tcp, timeout=0.05)


SENDER = """
import socket, sys
client = socket.create_connection(("10.0.0.2", 80))
for _ in range(int(sys.argv[1]) >> 16):
    client.sendall(bytes(1 << 16))
"""
RECEIVER = """
import socket
connection, _ = socket.create_server(("10.0.0.2", 80)).accept()
while connection.recv(1 << 20):
    pass
"""


def _transfer_outside(pair: VethPair, size: int) -> None:
    """So many bytes from the near end to the far one, between two programs."""
    receiver = pair.peer.netns.popen([sys.executable, "-ISc", RECEIVER]).wait_listening(80, timeout=LONG)
    pair.link.netns.run([sys.executable, "-ISc", SENDER, str(size)], check=True)
    assert receiver.wait() == 0


def _transfer(pair: VethPair, size: int) -> None:
    """The same by threads of this process, which hold its lock from the one that empties the ring."""
    with pair.peer.netns.socket() as server, pair.link.netns.socket() as client:
        server.bind(("10.0.0.2", 80))
        server.listen()
        taken: list[int] = []

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(1 << 20):
                    taken.append(len(data))

        taking = threading.Thread(target=take)
        taking.start()
        client.connect(("10.0.0.2", 80))
        block = bytes(1 << 16)
        for _ in range(size >> 16):
            client.sendall(block)
        client.close()
        taking.join()
        assert sum(taken) == size


def _covered(packets: Capture) -> int:
    """Bytes of the stream that were caught, each once: segments that were sent again do not count twice."""
    first, end, ranges = None, 0, []
    for packet in packets:
        if packet.tcp and packet.tcp.dport == 80:
            if "S" in packet.tcp.flags:
                first = packet.tcp.seq + 1
            elif packet.payload and first is not None:
                start = (packet.tcp.seq - first) % 2**32
                ranges.append((start, start + len(packet.payload)))
    total = 0
    for start, stop in sorted(ranges):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


@pytest.mark.parametrize("transfer", [_transfer, _transfer_outside])
def test_a_hundred_megabytes_are_caught_whole(
    pair: VethPair, transfer: Callable[[VethPair, int], None], tmp_path: Path
) -> None:
    """Beside tcpdump, which loses some where the machine is too busy: not more than it does."""
    size = 100 << 20
    covered: list[int] = []

    def catch() -> None:
        ours = pair.peer.capture("tcp port 80")
        with _tcpdump(pair.peer, tmp_path) as its_drops, ours as packets:
            transfer(pair, size)
        if not packets.dropped:
            covered.append(_covered(packets))
        assert packets.dropped <= sum(its_drops)

    in_time(catch)
    assert set(covered) <= {size}


@contextmanager
def _tcpdump(link: Link, directory: Path) -> Iterator[list[int]]:
    """tcpdump at the same link; how many packets it has lost, when it has ended.

    It becomes another user before it begins, which without root nobody can: there nothing may be lost.
    """
    drops: list[int] = []
    if os.geteuid() != 0:
        yield drops
        return
    command = ["tcpdump", "-i", link.name, "-w", directory / "its.pcap", "-Z", "root", "tcp", "port", "80"]
    with link.netns.popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"listening on" in process.stderr.readline()
        yield drops
        process.terminate()
        drops += map(int, re.findall(rb"(\d+) packets dropped by kernel", process.communicate()[1]))


def test_what_did_not_fit_is_counted(pair: VethPair) -> None:
    """The thread that empties the ring is kept from it, by the lock that it needs for each block."""
    with pair.peer.capture("tcp port 80", buffer=2 << 20) as packets:
        spool = packets._kept()
        with spool._changed:
            _transfer(pair, 16 << 20)
    assert packets.dropped > 0
    assert packets.received == packets.dropped + len(list(packets))


def test_cut_packets_say_how_long_they_were(pair: VethPair) -> None:
    with pair.link.capture("icmp", snaplen=40) as packets:
        pair.link.netns.ping("10.0.0.2", size=200)
    assert [(len(packet.raw), packet.length) for packet in packets] == [(40, 242), (40, 242)]


@needs("tshark")
def test_the_file_is_what_tshark_reads(pair: VethPair, tmp_path: Path) -> None:
    with pair.link.netns.capture("icmp or icmp6") as packets:
        pair.link.netns.ping("10.0.0.2")
        pair.link.netns.ping("127.0.0.1")
    path = tmp_path / "caught.pcapng"
    assert packets.save(path) == len(list(packets))
    done = subprocess.run(
        ["tshark", "-r", path, "-T", "json", "-e", "frame.interface_name", "-e", "ip.src",
         "-e", "frame.time_epoch", "-e", "frame.len"],
        capture_output=True, text=True, check=True, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    rows = [each["_source"]["layers"] for each in json.loads(done.stdout)]
    shown = [packet for packet in packets if packet.ip and packet.ip.version == 4]
    rows = [row for row in rows if "ip.src" in row]
    assert [row["frame.interface_name"][0] for row in rows] == [packet.link for packet in shown]
    assert [row["ip.src"][0] for row in rows] == [str(packet.src) for packet in shown]
    assert [int(row["frame.len"][0]) for row in rows] == [packet.length for packet in shown]
    times = [int(Decimal(row["frame.time_epoch"][0]) * 10**9) for row in rows]
    assert times == [packet.time_ns for packet in shown]


def test_scapy_takes_a_packet(pair: VethPair) -> None:
    with pair.link.capture("icmp") as packets:
        pair.link.netns.ping("10.0.0.2")
    first = next(iter(packets)).scapy()
    assert first["IP"].dst == "10.0.0.2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"filter": "tcp prt 80"}, "not understood"), ({"snaplen": 0}, "snaplen"), ({"buffer": 10}, "buffer"),
     ({"limit": 1}, "limit")],
)  # fmt: skip
def test_bad_input_is_told_before_anything_is_done(
    pair: VethPair, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        pair.link.capture(**arguments)  # type: ignore[arg-type]


def test_a_link_that_is_gone(host: Namespace) -> None:
    with Namespace() as other:
        with VethPair(host, other, name="a", peer_name="b") as pair:
            capture = pair.link.capture()
        with pytest.raises(NotFoundError), capture:
            pass


def test_a_link_that_goes_meanwhile(host: Namespace) -> None:
    with Namespace() as other:
        addresses = {"address": "10.0.0.1/24", "peer_address": "10.0.0.2/24"}
        pair = VethPair(host, other, name="a", peer_name="b", **addresses).create()  # type: ignore[arg-type]
        with pair.link.capture("icmp") as packets:
            host.ping("10.0.0.2")
            pair.delete()
        assert len(list(packets)) == 2


def test_its_namespace_ends_first(host: Namespace) -> None:
    with Namespace() as other:
        capture = other.capture().__enter__()
        other.ping("127.0.0.1")
    assert not capture.running
    assert [packet.link for packet in capture if packet.icmp] == ["lo", "lo"]
    capture.close()


def test_it_is_used_once(host: Namespace) -> None:
    capture = host.capture()
    with pytest.raises(StateError, match="has not begun"):
        list(capture)
    with capture:
        pass
    with pytest.raises(StateError, match="has been used"), capture:
        pass
    capture.close()
    assert repr(capture) == f"<Capture at {host._called()} (ended)>"
