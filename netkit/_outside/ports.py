"""Whether ports can be published: asked of the kernel, by binding them for a moment."""

from __future__ import annotations

import socket
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL

from netkit._spec.publish import PublishedPort
from netkit.errors import ExistsError, KernelError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def choose_ports(published: Sequence[PublishedPort]) -> tuple[PublishedPort, ...]:
    """The same with a free port for each that asked for one; ExistsError when one is taken, and by whom.

    In the calling thread's namespace. Programs say less when they fail, or nothing: pasta shares a UDP
    port with whoever lets others have it (SO_REUSEADDR). Raises AccessError for a port that needs
    CAP_NET_BIND_SERVICE, NotFoundError for an address that this machine has not.
    """
    held: list[socket.socket] = []
    found: list[PublishedPort] = []
    try:
        for each in published:
            found.append(_bound(each, held))
    finally:
        for sock in held:
            sock.close()
    return tuple(found)


def _bound(port: PublishedPort, held: list[socket.socket]) -> PublishedPort:
    family = socket.AF_INET6 if port.host_ip.version == 6 else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM if port.proto == "tcp" else socket.SOCK_DGRAM)
        held.append(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.proto == "tcp":  # connections that have just ended do not count
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(sock, port)
    except OSError as problem:
        if isinstance(problem, KernelError):
            raise
        raise _refused(port, problem.errno or 0) from None
    return PublishedPort(port.proto, port.host_ip, sock.getsockname()[1], port.port)


def _bind(sock: socket.socket, port: PublishedPort) -> None:
    """Where it is taken, once more after the look for who has it: he may be gone by then."""
    where = str(port.host_ip), port.host_port
    try:
        sock.bind(where)
        return
    except OSError as problem:
        if problem.errno != EADDRINUSE:
            raise
    refusal = _refused(port, EADDRINUSE)
    try:
        sock.bind(where)
    except OSError:
        raise refusal from None


def _refused(port: PublishedPort, number: int) -> KernelError:
    operation = f"publish {port}"
    if number == EADDRINUSE:
        free = f"{port.port}{'' if port.proto == 'tcp' else '/udp'}"
        hint = (
            f"{port.where} is held by {_holder(port)}: publish another one, or '{free}' for one that is free"
        )
        return ExistsError(operation, number, hint=hint)
    if number == EADDRNOTAVAIL:
        return NotFoundError(operation, number, hint=f"{port.host_ip} is no address of this machine")
    if number != EACCES:
        return kernel_error(operation, number)
    from netkit._system.privilege import missing_capability

    hint = (
        "Ports below the sysctl net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE: "
        "publish a higher one"
    )
    missing = missing_capability("CAP_NET_BIND_SERVICE")
    return kernel_error(operation, number, hint=hint, missing_capability=missing)


def _holder(port: PublishedPort) -> str:
    from netkit._namespace import Namespace
    from netkit._sockets import holder_of

    with Namespace.current() as outside:
        return holder_of(outside._live_runtime(), port.proto, port.host_port)
