"""A way outside that was detached: its keeper listens in the namespace for whoever adopts it.

At an abstract address of Unix sockets, made of the device's name, which only that namespace has: there is
no register that could be lost, and nothing to remove.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from errno import ENOENT

from netkit._spec.publish import PublishedPort
from netkit._system.keeper import Keeper
from netkit.errors import NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from netkit._runtime import Runtime
    from netkit._system.broker_values import Value


class Told:
    """What the keeper remembers for who adopts it."""

    def __init__(
        self,
        backend: str,
        address: str,
        dns: bool,
        has_v6: bool,
        published: Sequence[PublishedPort],
        lost: Sequence[PublishedPort],
    ) -> None:
        self.backend = backend
        self.address = address
        self.dns = dns
        self.has_v6 = has_v6
        self.published = tuple(published)
        self.lost = tuple(lost)

    def fields(self) -> dict[str, Value]:
        """As plain values."""
        return {
            "backend": self.backend, "address": self.address, "dns": self.dns, "has_v6": self.has_v6,
            "published": [*map(_plain, self.published)], "lost": [*map(_plain, self.lost)],
        }  # fmt: skip

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Told:
        """The inverse."""
        ports = [[PublishedPort(*each) for each in told[key]] for key in ("published", "lost")]
        return cls(told["backend"], told["address"], told["dns"], told["has_v6"], *ports)


def _plain(port: PublishedPort) -> list[Value]:
    return [port.proto, str(port.host_ip), port.host_port, port.port]


def _address(name: str) -> bytes:
    return b"\0netkit-outside-" + name.encode()


@contextmanager
def listen(runtime: Runtime, name: str) -> Generator[socket.socket]:
    """The socket for a keeper, which is handed over in the block."""
    with runtime.open_socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0) as listener:
        try:
            listener.bind(_address(name))
            listener.listen(8)
        except OSError as problem:  # a program without its device, which was detached under the same name
            operation = f"detach the way outside '{name}'"
            raise kernel_error(operation, problem.errno or 0, netns=runtime.label) from None
        yield listener


def find_left(runtime: Runtime, name: str) -> tuple[Keeper, Told]:
    """Take over the one of this device; NotFoundError when none was left."""
    with runtime.open_socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0) as control:
        if not control.connect_ex(_address(name)):
            connected = socket.socket(fileno=control.detach())
            found = Keeper.adopt(connected)
            if found is not None:
                return found[0], Told.of(found[1])
            connected.close()
    hint = f"No way outside '{name}' was detached there: whoever made one owns it, and has to detach() it"
    raise NotFoundError(f"adopt the way outside '{name}'", ENOENT, netns=runtime.label, hint=hint)
