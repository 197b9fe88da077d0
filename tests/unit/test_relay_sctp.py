"""What the relay makes of SCTP's messages, by sockets that only say what was asked of them."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from selectors import EVENT_READ, EVENT_WRITE
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netkit._system.relay_sctp import MessagePair

SCTP, SNDINFO, RCVINFO, UNORDERED = 132, 2, 3, 1  # linux/sctp.h
Ancillary = list[tuple[int, int, bytes]]


def received(stream: int, identifier: int, flags: int = 0) -> Ancillary:
    """struct sctp_rcvinfo, as the kernel gives it."""
    return [(SCTP, RCVINFO, struct.pack("@HHHxxIIIIi", stream, 5, flags, identifier, 6, 7, 8, 9))]


def to_send(stream: int, identifier: int, flags: int = 0) -> Ancillary:
    """struct sctp_sndinfo."""
    return [(SCTP, SNDINFO, struct.pack("@HHIIi", stream, flags, identifier, 0, 0))]


class Socket:
    """One of SCTP: what comes is in ``incoming``, what was sent in ``sent``."""

    def __init__(self) -> None:
        self.incoming: list[tuple[bytes, Ancillary, int]] = []
        self.sent: list[tuple[bytes, Ancillary]] = []
        self.full = False
        self.calls: list[str] = []

    def recvmsg(self, size: int, space: int) -> tuple[bytes, Ancillary, int, None]:
        data, ancillary, flags = self.incoming.pop(0)
        assert len(data) <= size
        assert space >= socket.CMSG_SPACE(28)
        return data, ancillary, flags, None

    def sendmsg(self, parts: Sequence[bytes], ancillary: Ancillary) -> int:
        if self.full:
            raise BlockingIOError
        self.sent.append((b"".join(parts), ancillary))
        return len(self.sent[-1][0])

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.calls.append("shutdown")

    def setsockopt(self, *_: object) -> None:
        self.calls.append("linger")

    def close(self) -> None:
        self.calls.append("close")


class Selector(dict[Any, SimpleNamespace]):
    """Which sockets are waited for, and for what."""

    def register(self, sock: Any, events: int, data: Any) -> None:
        self[sock] = SimpleNamespace(events=events, data=data)

    modify = register

    def unregister(self, sock: Any) -> None:
        del self[sock]

    def get_map(self) -> Selector:
        return self


class World:
    def __init__(self) -> None:
        self.selector = Selector()
        port = SimpleNamespace(loop=SimpleNamespace(selector=self.selector), pairs=set[Any]())
        self.client, self.server = Socket(), Socket()
        ends = cast("list[socket.socket]", [self.client, self.server])
        self.pair = MessagePair(cast("Any", port), ends[0], ends[1])
        port.pairs.add(self.pair)
        self.pairs = port.pairs

    def ready(self, sock: Socket, events: int) -> None:
        self.selector[sock].data(events)

    def waited_for(self, sock: Socket) -> int:
        return self.selector[sock].events if sock in self.selector else 0


@pytest.fixture
def world() -> World:
    return World()


def test_a_message_goes_on_in_its_stream(world: World) -> None:
    world.client.incoming = [(b"one", received(7, 0x01020304, UNORDERED), socket.MSG_EOR)]
    world.ready(world.client, EVENT_READ)
    world.server.incoming = [(b"two", received(2, 46), socket.MSG_EOR)]
    world.ready(world.server, EVENT_READ)
    assert world.server.sent == [(b"one", to_send(7, 0x01020304, UNORDERED))]
    assert world.client.sent == [(b"two", to_send(2, 46))]


def test_one_that_comes_in_parts_goes_on_as_one(world: World) -> None:
    parts = [b"a" * 65536, b"b" * 65536, b"c"]
    for number, part in enumerate(parts):
        world.client.incoming = [(part, received(1, 9), socket.MSG_EOR if number == 2 else 0)]
        world.ready(world.client, EVENT_READ)
        assert bool(world.server.sent) == (number == 2)
    assert world.server.sent == [(b"".join(parts), to_send(1, 9))]


def test_what_the_other_side_has_no_room_for_waits(world: World) -> None:
    world.server.full = True
    world.client.incoming = [
        (b"one", received(3, 1), socket.MSG_EOR),
        (b"two", received(4, 2), socket.MSG_EOR),
    ]
    world.ready(world.client, EVENT_READ)
    world.ready(world.server, EVENT_WRITE)
    assert (world.server.sent, len(world.client.incoming)) == ([], 1)
    world.server.full = False
    world.ready(world.server, EVENT_WRITE)
    assert world.server.sent == [(b"one", to_send(3, 1))]
    assert (world.waited_for(world.client), world.waited_for(world.server)) == (EVENT_READ, EVENT_READ)
    world.ready(world.client, EVENT_READ)
    assert world.server.sent[1:] == [(b"two", to_send(4, 2))]


def test_an_end_is_passed_on(world: World) -> None:
    world.client.incoming = [(b"", [], 0)]
    world.ready(world.client, EVENT_READ)
    assert (world.server.calls, world.waited_for(world.client)) == (["shutdown"], 0)
    world.server.incoming = [(b"", [], 0)]
    world.ready(world.server, EVENT_READ)
    assert (world.client.calls, world.server.calls) == (["shutdown", "close"], ["shutdown", "close"])
    assert not world.pairs


def test_one_that_is_too_large_ends_both_halves(world: World) -> None:
    for _ in range(17):
        world.client.incoming = [(b"x" * 65536, received(1, 1), 0)]
        world.ready(world.client, EVENT_READ)
        if not world.pairs:
            break
    assert (world.client.calls, world.server.calls) == (["linger", "close"], ["linger", "close"])
    assert world.server.sent == []


def test_a_refusal_ends_both_halves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EINVAL, "the server takes fewer streams")

    monkeypatch.setattr(world.server, "sendmsg", refused)
    world.client.incoming = [(b"one", received(700, 1), socket.MSG_EOR)]
    world.ready(world.client, EVENT_READ)
    assert (world.client.calls, world.server.calls) == (["linger", "close"], ["linger", "close"])
