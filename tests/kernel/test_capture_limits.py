"""Captures with what limits them: full disks, rings, forks, many at once, tags that the kernel takes away."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netkit import KernelError, Namespace, SpecError, StateError, VethPair
from netkit._capture.capture import Capture, stop_all
from tests.harness.patience import LONG
from tests.harness.tools import needs

ECHO, REPLY = 8, 0
SMALL = 64 << 10


def flood(pair: VethPair, count: int) -> None:
    """So many datagrams of 1000 bytes to the far end."""
    with pair.link.netns.socket(type=socket.SOCK_DGRAM) as source:
        for _ in range(count):
            source.sendto(bytes(1000), ("10.0.0.2", 9))


# -- a full disk ------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


def read(path: Path) -> tuple[int, str]:
    """How many packets tshark finds in a file; and what it complains of."""
    command = ["tshark", "-r", path, "-T", "fields", "-e", "frame.number"]
    environment = os.environ | {"HOME": str(path.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    complaints = [line for line in done.stderr.splitlines() if "cut" in line or "truncated" in line]
    return len(done.stdout.splitlines()), "\n".join(complaints) or f"status {done.returncode}"


@needs("tshark")
@pytest.mark.capable
def test_a_file_on_a_full_disk_has_what_fitted(pair: VethPair, small: Path) -> None:
    with pair.peer.capture("udp port 9") as packets:
        flood(pair, 1000)
    caught = len(list(packets))
    path = small / "caught.pcapng"
    with pytest.raises(
        OSError, match=r"No space left on device; the packets before are in it: .*caught.pcapng"
    ):
        packets.save(path)
    assert 0 < path.stat().st_size <= SMALL
    count, state = read(path)
    assert state == "status 0"
    assert SMALL // 1200 <= count < caught
    path.unlink()
    assert packets.save(small.parent / "whole.pcapng") == caught == read(small.parent / "whole.pcapng")[0]


@needs("tshark")
@pytest.mark.capable
def test_a_disk_that_is_full_meanwhile_is_told(
    pair: VethPair, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before is there, in the iteration and in the file."""
    monkeypatch.setattr(tempfile, "tempdir", str(small))
    with pair.peer.capture("icmp or udp port 9") as packets:
        assert pair.link.netns.ping("10.0.0.2").received == 1
        packets.wait_for(lambda packet: packet.icmp and packet.icmp.type == REPLY, timeout=LONG)
        flood(pair, 1000)
    words = (
        rf"keep the captured packets: No space left.* are kept in {small}, and TMPDIR= names another place"
    )
    kinds: list[int | None] = []
    with pytest.raises(KernelError, match=words):
        kinds.extend(packet.icmp.type if packet.icmp else None for packet in packets)
    assert kinds[:2] == [ECHO, REPLY]
    path = small.parent / "caught.pcapng"
    with pytest.raises(KernelError, match=words):
        packets.save(path)
    assert read(path) == (len(kinds), "status 0")
    packets.close()  # the file that has no name


def test_a_limit_that_is_reached_is_told(pair: VethPair) -> None:
    with pair.peer.capture("udp port 9", limit=1 << 20) as packets:
        flood(pair, 3000)
    assert packets.captured()
    with pytest.raises(KernelError, match=r"keep the captured packets.*the limit of 1 MB is reached"):
        list(packets)


def test_no_directory_for_the_packets(
    pair: VethPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(KernelError, match=r"/nowhere for temporary files; TMPDIR= names another"):
        pair.link.capture().__enter__()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_has_nothing_to_cut(pair: VethPair) -> None:
    with pair.link.capture("icmp") as packets:
        pair.link.netns.ping("10.0.0.2")
    with pytest.raises(OSError, match=r"No space left on device.*'/dev/full'"):
        packets.save("/dev/full")
    with pytest.raises(FileNotFoundError, match=r"/nowhere/caught\.pcapng"):
        packets.save("/nowhere/caught.pcapng")


# -- tags -------------------------------------------------------------------------------


def tagged(pair: VethPair, *tags: tuple[int, int]) -> None:
    """Send an ARP request with VLAN tags: their types and their contents."""
    near, far = (bytes.fromhex(link.mac.replace(":", "")) for link in pair if link.mac)
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, near, b"\x0a\0\0\1", bytes(6), b"\x0a\0\0\2")
    frame = far + near + b"".join(struct.pack("!HH", *tag) for tag in tags) + b"\x08\x06" + arp
    with pair.link.netns.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((pair.link.name, 0))
        raw.send(frame)


def test_the_tags_are_put_back(pair: VethPair, tmp_path: Path) -> None:
    """The kernel takes the outer tag out of a packet that comes in; files and headers have it."""
    with pair.peer.capture("arp or vlan") as packets:
        tagged(pair, (0x8100, 5 << 13 | 42))
        tagged(pair, (0x88A8, 7), (0x8100, 42))
    found = [[(vlan.id, vlan.priority) for vlan in packet.vlans] for packet in packets if packet.vlans]
    assert found == [[(42, 5)], [(7, 0), (42, 0)]]
    assert [str(packet.arp.target) for packet in packets if packet.arp and packet.vlans] == ["10.0.0.2"] * 2
    assert packets.save(tmp_path / "caught.pcapng") == len(list(packets))
    done = subprocess.run(
        ["tcpdump", "-n", "-e", "-r", tmp_path / "caught.pcapng", "vlan"], capture_output=True, text=True
    )
    assert [("vlan 42, p 5" in line, "vlan 7, p 0" in line) for line in done.stdout.splitlines()] == [
        (True, False), (False, True),
    ]  # fmt: skip


def test_a_filter_for_a_tag(pair: VethPair) -> None:
    with pair.peer.capture("vlan 42 and arp") as packets, pair.peer.capture("vlan", snaplen=20) as cut:
        tagged(pair, (0x8100, 42))
        tagged(pair, (0x8100, 43))
        pair.link.netns.ping("10.0.0.2")
    assert [[vlan.id for vlan in packet.vlans] for packet in packets] == [[42]]
    assert [(packet.vlans[0].id, len(packet.raw), packet.length) for packet in cut] == [
        (42, 20, 46), (43, 20, 46),
    ]  # fmt: skip
    with pytest.raises(SpecError, match="not understood"):
        pair.peer.capture("vlan 4 2")
    with pytest.raises(SpecError, match="not understood"):
        pair.peer.capture("\ud800")


# -- several, and forks -----------------------------------------------------------------


def test_many_at_one_link_have_the_same(pair: VethPair) -> None:
    """But for what comes to one in the very moment in which the kernel hands over its block, and says so.

    It looks for room without the lock (__packet_rcv_has_room in net/packet/af_packet.c).
    """
    captures = [pair.link.capture("icmp", buffer=2 << 20).__enter__() for _ in range(30)]
    try:
        assert pair.link.netns.ping("10.0.0.2").received == 1
    finally:
        stop_all(captures)
    found = [[packet.icmp.type for packet in each if packet.icmp] for each in captures]
    counted = [(each.received, each.dropped) for each in captures]
    for each in captures:
        each.close()
    for types, (received, dropped) in zip(found, counted, strict=True):
        assert received == 2
        assert types == [ECHO, REPLY] if dropped == 0 else len(types) == 2 - dropped
    assert counted.count((2, 0)) > 25


def _socket_of(capture: Capture) -> int:
    assert capture._ring is not None
    return capture._ring._socket.fileno()


def test_a_forked_child_leaves_it_to_the_parent(pair: VethPair) -> None:
    """It neither waits for packets that come there, nor takes its counts away, nor keeps the namespace."""
    with pair.link.capture("icmp") as packets:
        pair.link.netns.ping("10.0.0.2")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            told = "nothing"
            try:
                try:
                    list(packets)
                except StateError as problem:
                    told = str(problem)
                packets.stop()
                told += f"; {packets.received} caught, by socket {_socket_of(packets)}"
            finally:
                os.write(writing, told.encode())
                os._exit(0)
        os.close(writing)
        with open(reading) as file:
            told = file.read()
        assert os.waitpid(child, 0)[1] == 0
        pair.link.netns.ping("10.0.0.2")
    assert "is the parent's of this process, made by fork(): it is read there" in told
    assert told.endswith("caught, by socket -1")
    assert (packets.received, packets.dropped, len(list(packets))) == (4, 0, 4)


def test_another_name_is_the_one_from_the_beginning(host: Namespace) -> None:
    """As with tcpdump: the device is what counts, and it goes on when the link was down."""
    with Namespace() as other, VethPair(host, other, name="a", peer_name="b", address="10.0.0.1/24",
                                        peer_address="10.0.0.2/24") as pair:  # fmt: skip
        with pair.link.capture("icmp") as packets:
            assert host.ping("10.0.0.2").received == 1
            pair.link.down()
            pair.link.rename("c")
            pair.link.up()
            assert host.ping("10.0.0.2").received == 1
        assert [packet.link for packet in packets] == ["a"] * 4
