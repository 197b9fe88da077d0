"""Capture: the packets that pass a link, or all links of a namespace."""

from __future__ import annotations

import os
import socket
from threading import Lock
from time import monotonic

from netkit._capture import filters, pcapng
from netkit._capture.packet import Packet
from netkit._capture.ring import Ring
from netkit._capture.spool import Spool
from netkit._forks import process
from netkit._known import runtime_of
from netkit._netlink.link import list_links, parse_link
from netkit._shown import Shown
from netkit._spec import numbers
from netkit.errors import KernelError, NetkitError, StateError, WaitTimeout, kernel_error, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from netkit._link import Link
    from netkit._namespace import Namespace
    from netkit._runtime import Runtime

_WHOLE = 262_144  # bytes: tcpdump's own default, and more than any packet
_ARPHRD_NONE = 65534


class Capture(Shown):
    """What passes a link (``link.capture()``) or all links of a namespace (``ns.capture()``), in and out.

    It catches from the beginning of its block to the end. Iterating gives the packets from the first on;
    within the block it waits for more, so leave it by ``break`` or take `captured()`; after it, it ends.
    The packets are kept in a file without a name in the directory for temporary files.
    The kernel keeps a VLAN tag beside the packet: a filter that names ``vlan`` is applied when packets are
    read, and `received` counts those of all VLANs.

    Twin: ``tcpdump -i NAME -w FILE 'FILTER'``. Source: packet(7). Needs CAP_NET_RAW and CONFIG_PACKET.
    Raises UnsupportedError without libpcap for a filter; NotFoundError when the link is gone.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     with box.links["lo"].capture("icmp") as packets:
        ...         box.ping("127.0.0.1").received
        ...     [packet.icmp.type for packet in packets]
        1
        [8, 0]
    """

    def __init__(
        self,
        netns: Namespace,
        link: Link | None = None,
        filter: str | None = None,
        *,
        snaplen: int = _WHOLE,
        buffer: int = 64 << 20,
        limit: int = 1 << 30,
    ) -> None:
        self._netns = netns
        self._link = link
        self._snaplen = numbers.integer(snaplen, "snaplen", 1, _WHOLE)
        self._buffer = numbers.integer(buffer, "buffer", 2 << 20, 1 << 30)
        self._limit = numbers.integer(limit, "limit", 1 << 20, 1 << 50)
        self._filter = filter
        filters.compiled(filter, self._snaplen)  # what is wrong with it is said now
        self._spool: Spool | None = None
        self._ring: Ring | None = None
        self._runtime: Runtime | None = None
        self._names: dict[int, str] = {}
        self._counted = (0, 0)
        self._lock = Lock()
        self._pid = process()

    # -- the block --------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._spool is not None:
            raise StateError(f"{self!r} has been used: make another one")
        with naming_limits("capture packets"):
            self._begin()
        return self

    def _begin(self) -> None:
        runtime = self._runtime = runtime_of(self._netns)
        index, link_type = self._where(runtime)
        matches = filters.by_tags(self._filter, self._snaplen, link_type)
        if matches is None:
            program = filters.compiled(self._filter, self._snaplen, link_type)
        else:
            program = filters.compiled(None, _WHOLE)
        spool = Spool(self._name_of, self._limit, matches)
        opened = runtime.open_socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._spool = spool
        try:
            self._ring = Ring(opened, spool, self._buffer)
            self._ring.start(program, index)
        except BaseException as problem:
            self.stop()
            opened.close()
            if isinstance(problem, OSError) and not isinstance(problem, KernelError):
                raise kernel_error("capture packets", problem.errno or 0, netns=runtime.label) from None
            raise
        runtime.once("captures", Captures).add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Catch nothing more; a second call does nothing. The end of the block does this.

        Twin: SIGINT to ``tcpdump``.
        """
        if self._pid != process():  # a child's end is not the capture's
            return
        with self._lock:
            ring, self._ring = self._ring, None
            if ring is None:
                return
            ring.stop()
            self._counted = ring.statistics()
        assert self._runtime is not None
        captures = self._runtime.kept("captures")
        if isinstance(captures, Captures):
            captures.remove(self)

    def _ask_to_stop(self) -> None:
        """Before `stop`, where several are stopped: they end together."""
        if self._pid != process():
            return
        with self._lock:
            if self._ring is not None:
                self._ring.ask_to_stop()

    def close(self) -> None:
        """Stop, and let go of the packets. Twin: none."""
        self.stop()
        if self._spool is not None:
            self._spool.close()

    def _where(self, runtime: Runtime) -> tuple[int, int]:
        """The device's index, 0 for all; and what its packets begin with."""
        self._read_names(runtime)
        if self._link is None:
            return 0, filters.ETHERNET
        has_none = self._link.kind == "tun" and self._link.mac is None
        return self._link.ifindex, filters.RAW_IP if has_none else filters.ETHERNET

    def _read_names(self, runtime: Runtime) -> None:
        records = [parse_link(reply) for reply in runtime.route.dump(list_links())]
        self._names.update({record.index: record.name for record in records})

    def _name_of(self, index: int) -> str:
        if index not in self._names and self._runtime is not None:
            try:
                self._read_names(self._runtime)  # it is newer than the capture
            except (NetkitError, OSError):
                pass
            self._names.setdefault(index, f"if{index}")
        return self._names.get(index, f"if{index}")

    # -- what was caught --------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it still catches."""
        return self._ring is not None

    @property
    def received(self) -> int:
        """How many packets passed the filter; on ``lo`` each is counted twice, out and in, and given once."""
        return self._statistics()[0]

    @property
    def dropped(self) -> int:
        """How many of them were lost, for the ring was full: a larger ``buffer`` helps.

        Or one came in the very moment in which the kernel handed over a part of it, which is rare.
        """
        return self._statistics()[1]

    def _statistics(self) -> tuple[int, int]:
        with self._lock:
            if self._ring is not None:
                self._counted = self._ring.statistics()
            return self._counted

    def __iter__(self) -> Iterator[Packet]:
        spool, number = self._kept(), 0
        while spool.wait(number, None) and number < len(spool):
            yield from spool.packets(number)
            number += 1
        if spool.problem is not None:
            raise spool.problem

    async def __aiter__(self) -> AsyncIterator[Packet]:
        from netkit._system.awaiting import on_a_thread

        spool, number = self._kept(), 0
        while True:
            if number >= len(spool) and not spool.ended:
                await on_a_thread(lambda at=number: spool.wait(at, 0.2))  # type: ignore[misc]
            if number < len(spool):
                for packet in spool.packets(number):
                    yield packet
                number += 1
            elif spool.ended:
                break
        if spool.problem is not None:
            raise spool.problem

    def captured(self) -> list[Packet]:
        """Those that have been handed over so far: within the block, all but those of the last 10 ms.

        Twin: ``tcpdump -r FILE``.
        """
        return list(self._handed_over())

    def _handed_over(self) -> Iterator[Packet]:
        spool = self._kept()
        for number in range(len(spool)):
            yield from spool.packets(number)

    def wait_for(self, condition: Callable[[Packet], object], *, timeout: float = 10.0) -> Packet:
        """The first packet of which ``condition(packet)`` is true, from the first that was caught on.

        Raises WaitTimeout after ``timeout`` seconds, or at the end of the capture.

        Twin: ``tcpdump -c 1``.
        """
        deadline = monotonic() + numbers.seconds(timeout, "timeout", 0.0)
        spool, number, seen = self._kept(), 0, 0
        while spool.wait(number, max(0.0, deadline - monotonic())) and number < len(spool):
            for packet in spool.packets(number):
                seen += 1
                if condition(packet):
                    return packet
            number += 1
        raise WaitTimeout(f"none of {seen} packets was the one within {timeout:g} s: {self!r}")

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write what was caught so far as pcapng, which Wireshark and tcpdump read; how many packets.

        Raises OSError for a file that can't be written, and KernelError if some packets could not be kept,
        for the disk or the limit: the file has those before.

        Twin: ``tcpdump -w FILE``.
        """
        spool = self._kept()
        count = pcapng.write(path, self._handed_over(), self._snaplen)
        if spool.problem is not None:
            raise spool.problem
        return count

    def _kept(self) -> Spool:
        if self._spool is None:
            raise StateError(f"{self!r} has not begun: use it in a `with`")
        if self._pid != process() and not self._spool.ended:
            raise StateError(f"{self!r} is the parent's of this process, made by fork(): it is read there")
        return self._spool

    def __del__(self) -> None:
        if getattr(self, "_ring", None) is not None:
            self.stop()

    def __repr__(self) -> str:
        where = self._netns._called() if self._link is None else self._link._called
        text = f" of {self._filter!r}" if self._filter else ""
        state = "running" if self.running else "not begun" if self._spool is None else "ended"
        return f"<Capture{text} at {where} ({state})>"


class Captures:
    """Those that run in one namespace: a socket keeps it alive, so they end with it."""

    def __init__(self) -> None:
        self._running: dict[int, Capture] = {}

    def add(self, capture: Capture) -> None:
        """It runs."""
        self._running[id(capture)] = capture

    def remove(self, capture: Capture) -> None:
        """It has stopped."""
        self._running.pop(id(capture), None)

    def close(self) -> None:
        """The namespace ends."""
        stop_all(list(self._running.values()))


def stop_all(captures: Iterable[Capture]) -> None:
    """Several at once: each takes a while until the kernel has handed over the last packets."""
    captures = list(captures)
    for capture in captures:
        capture._ask_to_stop()
    for capture in captures:
        capture.stop()
