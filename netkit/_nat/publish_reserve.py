"""A published port is bound here as well, so that no other program takes it, and a conflict is an error.

One socket per port and protocol: of both families where it can be (bind(2) to ``::``). It is bound beside
connections of an earlier owner that are in TIME_WAIT (SO_REUSEADDR, socket(7)): they are in nobody's way.
What is relayed of SCTP listens at ``::1`` by a second one: a server at ``::`` tells its clients all its
addresses, and what they try there would be translated, and answered by who knows nothing of them.
"""

from __future__ import annotations

import os
import socket
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from weakref import WeakSet

from netkit._sockets import has_no_owner, holder_of, processes_at
from netkit._spec.port_mapping import PROTOCOLS
from netkit._system.limits import make_room
from netkit.errors import ExistsError, KernelError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import PublishSpec

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_HELD, _SHARED, _LISTENING = range(3)  # how a port is bound; the second one is shared for a moment
_open_sockets: WeakSet[socket.socket] = WeakSet()


def make_room_for(runtime: Runtime, specs: Iterable[PublishSpec], relays: bool) -> None:
    """Room for as many descriptors; KernelError if the hard limit has none, before anything is bound."""
    count = sum(
        [
            (each.ports[1] - each.ports[0] + 1) * (len(each.protos) + (relays and "sctp" in each.protos))
            for each in specs
        ]
    )
    make_room(count, f"reserve {count} ports", runtime.label, "; reserve=False needs none")


def reserve(
    runtime: Runtime, spec: PublishSpec, held: list[Reservation], relays: bool, done: set[tuple[str, int]]
) -> None:
    """Bind all ports of the spec, each as soon as it is bound in ``held``; ``relays``: ::1 is to be relayed.

    ``done`` are those of the mapping that are: one that leads to a target of each family is bound once.
    ExistsError names who holds one; where the kernel has no sockets of a protocol nobody can take its ports.
    """
    low, high = spec.ports
    for proto in spec.protos:
        for port in range(low, high + 1):
            if (proto, port) in done:
                continue
            done.add((proto, port))
            bound = _bind(runtime, spec, proto, port, relays)
            if bound is None:
                continue
            here = relays and bound.family == socket.AF_INET6
            twice = here and proto == "sctp" and not _is_loopback(spec)
            held.append(Reservation(bound, proto, port, here and not twice))
            beside = _beside(runtime, spec, bound, port) if twice else None
            if beside is not None:
                held.append(Reservation(beside, proto, port, True))


class Reservation:
    """A bound port. ``relayed``: what arrives there is for the relay."""

    __slots__ = ("port", "proto", "relayed", "socket")

    def __init__(self, bound: socket.socket, proto: str, port: int, relayed: bool) -> None:
        self.socket = bound
        self.proto = proto
        self.port = port
        self.relayed = relayed


def _is_loopback(spec: PublishSpec) -> bool:
    return spec.host_ip is not None and spec.host_ip.is_loopback


def _beside(runtime: Runtime, spec: PublishSpec, bound: socket.socket, port: int) -> socket.socket | None:
    """A socket of SCTP that listens at ::1, while the other one holds the port of all addresses."""
    try:
        return _bound(runtime, spec, socket.AF_INET6, "::1", "sctp", port, _LISTENING)
    finally:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # from now on nobody else may


def _bind(runtime: Runtime, spec: PublishSpec, proto: str, port: int, relays: bool) -> socket.socket | None:
    host_ip = spec.host_ip
    how = _HELD
    if relays and proto != "udp":
        how = _LISTENING if proto == "tcp" or _is_loopback(spec) else _SHARED
    if host_ip is None:
        bound = _bound(runtime, spec, socket.AF_INET6, "::", proto, port, how)
        return bound or _bound(runtime, spec, socket.AF_INET, "0.0.0.0", proto, port, _HELD)
    family = socket.AF_INET if host_ip.version == 4 else socket.AF_INET6
    return _bound(runtime, spec, family, str(host_ip), proto, port, how)


def _bound(
    runtime: Runtime, spec: PublishSpec, family: int, address: str, proto: str, port: int, how: int
) -> socket.socket | None:
    """None where there is no such family or protocol."""
    try:
        sock = runtime.open_socket(family, _KINDS[proto], PROTOCOLS[proto])
    except KernelError as problem:
        if problem.errno in (EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT):
            return None
        raise
    _open_sockets.add(sock)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.host_ip is not None)
        if how != _HELD:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind_at(runtime, sock, address, proto, port, how == _HELD and proto == "tcp")
        if how == _LISTENING:
            if proto == "sctp":
                from netkit._system.relay_sctp import offer_streams

                offer_streams(sock)
            sock.listen(128)
    except OSError as problem:
        sock.close()
        if isinstance(problem, KernelError):
            raise
        if problem.errno == EADDRNOTAVAIL and (address == "::" or address != str(spec.host_ip)):
            return None  # IPv6 is disabled
        raise _explained(runtime, problem.errno or 0, address, proto, port) from None
    return sock


def _bind_again(sock: socket.socket, address: str, port: int, beside: bool) -> None:
    """``beside`` connections of TCP that are left where nobody has it, or after who had it for a moment.

    A process that is just being started has the descriptors of the one that starts it until its exec().
    Without the option nobody listens beside us afterwards.
    """
    if beside:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if beside:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _bind_at(
    runtime: Runtime, sock: socket.socket, address: str, proto: str, port: int, beside: bool
) -> None:
    """Where it is taken, once more after the look for who has it: he may be gone by then."""
    try:
        sock.bind((address, port))
        return
    except OSError as problem:
        if problem.errno != EADDRINUSE:
            raise
    refusal = _explained(runtime, EADDRINUSE, address, proto, port)
    from netkit._nat.publish_helper import await_leaving

    await_leaving(processes_at(runtime, proto, port))
    free = has_no_owner(runtime, proto, port)
    try:
        _bind_again(sock, address, port, beside and free)
    except OSError:
        raise refusal from None


def _explained(runtime: Runtime, number: int, address: str, proto: str, port: int) -> Exception:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    operation = f"publish {proto} port {port}"
    if number == EADDRINUSE:
        hint = f"{where} is held by {holder_of(runtime, proto, port)}"
        return ExistsError(operation, number, netns=runtime.label, hint=hint)
    if number == EADDRNOTAVAIL:
        hint = f"{address} is no address of this namespace: add it to a link first, or give reserve=False"
        return NotFoundError(operation, number, netns=runtime.label, hint=hint)
    return kernel_error(operation, number, netns=runtime.label)


def close_reservations(held: list[Reservation]) -> None:
    """Let the ports go."""
    while held:
        held.pop().socket.close()


def _after_fork() -> None:
    """A child does not hold the ports: they are to be free when the parent lets them go."""
    for sock in list(_open_sockets):
        sock.close()


os.register_at_fork(after_in_child=_after_fork)
