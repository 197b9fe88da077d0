"""ping without a ping binary: ICMP and ICMPv6 echo over raw sockets."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import time
from struct import Struct

from netkit._spec.addresses import ip_address
from netkit._spec.value import Value, shown
from netkit._system.icmp_packets import FILTER_6, echo_request, parse
from netkit._system.privilege import missing_capability
from netkit._system.signals import admitted_signals, held_signals
from netkit.errors import KernelError, SpecError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from netkit._spec.addresses import AddressLike

    IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    OpenSocket: TypeAlias = Callable[[int, int, int], socket.socket]

_ICMP6_FILTER = 1  # linux/icmpv6.h
_SO_TIMESTAMPNS = 64  # asm-generic/socket.h: SO_TIMESTAMPNS_NEW
_STAMP = Struct("=qq")
# The way there does not exist (now): a lost packet, as ping counts it, and no fault of the call.
_LOST = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED,
    errno.EPERM,  # an output rule dropped it
    errno.EACCES,  # a prohibit route
    errno.EINVAL,  # a blackhole route
    errno.ENOBUFS,
    errno.EAGAIN,
}
_LARGEST = 65536


class PingResult(Value):
    """What came back from a ping, frozen. Twin: the last lines of ``ping``. Source: RFC 792, RFC 4443.

    Attributes:
        sent: how many requests were sent or tried.
        received: how many were answered.
        times: the round trip of each answer in seconds, in the order of the requests.
    """

    __slots__ = ("received", "sent", "times")
    _fields = ("sent", "received", "times")
    sent: int
    received: int
    times: tuple[float, ...]

    def __init__(self, sent: int, times: Iterable[float]) -> None:
        times = tuple(times)
        object.__setattr__(self, "sent", sent)
        object.__setattr__(self, "received", len(times))
        object.__setattr__(self, "times", times)

    @property
    def loss(self) -> float:
        """The share that was not answered, 0.0 to 1.0."""
        return 1 - self.received / self.sent if self.sent else 0.0

    @property
    def min(self) -> float | None:
        """The shortest round trip in seconds, or None without an answer."""
        return min(self.times, default=None)

    @property
    def avg(self) -> float | None:
        """The mean round trip in seconds, or None without an answer."""
        return sum(self.times) / len(self.times) if self.times else None

    @property
    def max(self) -> float | None:
        """The longest round trip in seconds, or None without an answer."""
        return max(self.times, default=None)

    def __str__(self) -> str:
        text = f"{self.sent} sent, {self.received} received, {self.loss:.0%} loss"
        if self.times:
            figures = (min(self.times), sum(self.times) / len(self.times), max(self.times))
            text += f", min/avg/max {'/'.join(f'{each * 1000:.3f}' for each in figures)} ms"
        return text


def ping(
    open_socket: OpenSocket,
    address: AddressLike,
    count: int = 1,
    interval: float = 1.0,
    timeout: float = 2.0,
    size: int = 56,
) -> PingResult:
    """Send ``count`` echo requests, ``interval`` seconds apart, and wait for each up to ``timeout``.

    ``open_socket(family, type, proto)`` opens a socket where the ping is to leave from. An
    IPv6 link-local address takes its device along: ``fe80::1%eth0``. An unreachable target is
    loss, not an exception. Needs CAP_NET_RAW (raw(7)): ICMP datagram sockets depend on the sysctl
    net.ipv4.ping_group_range. Source: RFC 792, RFC 4443.
    """
    target, device = _target(address)
    family, proto = socket.AF_INET, socket.IPPROTO_ICMP
    if target.version == 6:
        family, proto = socket.AF_INET6, socket.IPPROTO_ICMPV6
    with held_signals():  # else one could come when the socket is open and the block has not begun
        try:
            raw = open_socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, proto)
        except OSError as error:
            raise _refused(target, error) from None
        try:
            with admitted_signals():
                return _Ping(raw, target, device, timeout, size).run(count, interval)
        finally:
            raw.close()


def _target(address: AddressLike) -> tuple[IPAddress, str]:
    device = ""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        device, address = address.scope_id, ipaddress.IPv6Address(int(address))
    elif isinstance(address, str) and "%" in address:
        plain, _, device = address.partition("%")
        if not device or ip_address(plain).version != 6:
            raise SpecError(
                f"address {shown(address)}: %DEVICE belongs to an IPv6 address, as in fe80::1%eth0"
            )
        address = plain
    target = ip_address(address)
    if target.version == 6 and target.is_link_local and not device:
        raise SpecError(f"address '{target}' is link-local: say by which device, '{target}%eth0'")
    return target, device


class _Ping:
    """One run of echo requests over one socket."""

    def __init__(self, raw: socket.socket, target: IPAddress, device: str, timeout: float, size: int) -> None:
        self._raw = raw
        self._target = target
        self._ipv6 = target.version == 6
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._timeout = timeout
        self._payload = bytes(byte & 255 for byte in range(size))
        self._to: tuple[str, int] | tuple[str, int, int, int] = (str(target), 0)
        self._last = 0
        self._waiting: dict[int, float] = {}  # sequence: when it was sent
        # Just before and after, by the clock that the kernel stamps packets with.
        self._sent: dict[int, tuple[int, int]] = {}
        self._times: dict[int, float] = {}
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN)
        # A busy program may look late: when a reply came is the kernel's to say.
        raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if self._ipv6:
            raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, FILTER_6)
        if device:
            self._bind(device)

    def _bind(self, device: str) -> None:
        """Leave by this device; its index is asked of the socket, which lives in the right namespace."""
        import struct
        from fcntl import ioctl

        try:
            request = struct.pack("16si20x", os.fsencode(device)[:15], 0)
            index = struct.unpack_from("i", ioctl(self._raw, 0x8933, request), 16)[0]  # SIOCGIFINDEX
        except OSError as error:
            raise kernel_error(f"ping by device '{device}'", error.errno or 0) from None
        self._to = (str(self._target), 0, 0, index)

    def run(self, count: int, interval: float) -> PingResult:
        next_send = time.monotonic()
        for number in range(count):
            self._send(number)
            next_send += interval
            if number < count - 1:
                self._receive(next_send, until_quiet=False)
        if self._waiting:
            self._receive(max(self._waiting.values()) + self._timeout, until_quiet=True)
        return PingResult(count, [self._times[number] for number in sorted(self._times)])

    def _send(self, number: int) -> None:
        sequence = number & 0xFFFF
        packet = echo_request(self._ipv6, self._identifier, sequence, self._payload)
        self._last = number
        before = time.time_ns()
        try:
            self._raw.sendto(packet, self._to)
        except OSError as error:
            if error.errno not in _LOST:
                raise _refused(self._target, error) from None
            return
        # It left between these two, which on a busy machine can be seconds: no answer is late for that.
        self._sent[number] = before, time.time_ns()
        self._waiting[number] = time.monotonic()

    def _receive(self, deadline: float, until_quiet: bool) -> None:
        """Take in packets until the deadline, or (``until_quiet``) until nothing is waited for."""
        while not (until_quiet and not self._waiting):
            left = deadline - time.monotonic()
            if left <= 0 and not self._poll.poll(0):
                return
            if self._poll.poll(max(0.0, left) * 1000):
                self._take()

    def _take(self) -> None:
        try:
            data, ancillary, _, _ = self._raw.recvmsg(_LARGEST, socket.CMSG_SPACE(_STAMP.size))
        except OSError:
            return  # an error kept on the socket: of which packet, the quoting packet says
        found = parse(self._ipv6, data, self._identifier, self._target.packed)
        if found is None:
            return
        kind, sequence = found
        number = self._last - ((self._last - sequence) & 0xFFFF)  # the latest with these 16 bits
        if self._waiting.pop(number, None) is None or kind != "reply":
            return
        arrived, (before, after) = _arrival(ancillary), self._sent[number]
        if arrived - after <= self._timeout * 1e9:
            self._times[number] = max(0, arrived - before) / 1e9


def _arrival(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """When the kernel took the packet in, in nanoseconds since 1970."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _STAMP.unpack(data)
            return int(seconds) * 10**9 + int(nanoseconds)
    return time.time_ns()


def _refused(target: IPAddress, error: OSError) -> KernelError:
    missing = missing_capability("CAP_NET_RAW") if error.errno == errno.EPERM else None
    return kernel_error(f"ping {target}", error.errno or 0, missing_capability=missing)
