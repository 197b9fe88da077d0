"""Descriptors on their way from a process to its guard."""

from __future__ import annotations

import os
from _socket import socket
from collections.abc import Iterator

import pytest

from netkit._system.held_places import HeldPlaces, held_in


@pytest.fixture
def held() -> Iterator[HeldPlaces]:
    made = HeldPlaces()
    yield made
    made.close()


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("place")
    yield fd
    os.close(fd)


def arrives(held: HeldPlaces) -> dict[str, int]:
    """What a guard finds, by name, with the inode."""
    reader = socket(fileno=os.dup(held.reader()))
    found = {}
    for name, fd in held_in(reader):
        found[name] = os.fstat(fd).st_ino
        os.close(fd)
    reader.close()
    return found


def test_what_is_held_arrives_once(held: HeldPlaces, file: int) -> None:
    other = os.memfd_create("other")
    for _ in range(3):
        held.hold("4:1:1", file)
    held.hold("4:2:2", other)
    expected = {"4:1:1": os.fstat(file).st_ino, "4:2:2": os.fstat(other).st_ino}
    os.close(other)
    assert arrives(held) == expected
    assert arrives(held) == {}


def test_what_is_released_does_not_and_the_others_do(held: HeldPlaces, file: int) -> None:
    for number in range(5):
        held.hold(f"4:{number}:0", file)
    held.release("4:2:0")
    held.release("4:2:0")
    held.release("4:77:0")
    held.hold("4:9:0", file)
    assert list(arrives(held)) == ["4:0:0", "4:1:0", "4:3:0", "4:4:0", "4:9:0"]


def test_what_is_released_is_closed(held: HeldPlaces) -> None:
    heard, told = os.pipe()
    held.hold("4:1:1", told)
    os.close(told)
    os.set_blocking(heard, False)
    with pytest.raises(BlockingIOError):
        os.read(heard, 1)
    held.release("4:1:1")
    assert os.read(heard, 1) == b""
    os.close(heard)


def test_without_room_nothing_fails(held: HeldPlaces, file: int) -> None:
    for number in range(3000):
        held.hold(f"4:{number}:0", file)
    held.release("4:0:0")
    found = arrives(held)
    assert 100 < len(found) < 3000
    assert "4:0:0" not in found


def test_it_arrives_when_who_sent_is_gone(held: HeldPlaces, file: int) -> None:
    held.hold("4:1:1", file)
    reader = socket(fileno=os.dup(held.reader()))
    held.close()
    (found,) = held_in(reader)
    os.close(found[1])
    reader.close()
    assert found[0] == "4:1:1"
    assert held.descriptors() == []
