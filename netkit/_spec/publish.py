"""Published ports: what ``-p`` of podman and docker says, and mappings of plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netkit._spec.addresses import ip_address
from netkit._spec.numbers import port, port_range
from netkit._spec.value import Value, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from netkit._spec.addresses import AddressLike, IPAddress

    Publish: TypeAlias = Mapping[int, int] | Iterable[str | int] | str | int

_set = object.__setattr__
_MOST = 1024  # each is a socket of the program that does it
_FORM = "'[HOST_IP:][HOST_PORT]:PORT[/tcp|/udp]', as after -p of podman and docker"


class PublishedPort(Value):
    """A port of the outside that leads to one inside; frozen.

    ``proto`` is ``tcp`` or ``udp``, ``host_ip`` and ``host_port`` are where it listens outside, ``port``
    is inside. ``str()`` is what ``docker ps`` and ``podman ps`` show.

    Examples:
        >>> from netkit import PublishedPort
        >>> str(PublishedPort("udp", "127.0.0.1", 5353, 53))
        '127.0.0.1:5353->53/udp'
    """

    __slots__ = _fields = ("proto", "host_ip", "host_port", "port")

    proto: str
    host_ip: IPAddress
    host_port: int
    port: int

    def __init__(self, proto: str, host_ip: AddressLike, host_port: int, port: int) -> None:
        _set(self, "proto", proto)
        _set(self, "host_ip", ip_address(host_ip, "host_ip"))
        _set(self, "host_port", host_port)
        _set(self, "port", port)

    @property
    def where(self) -> str:
        """Where it listens outside, such as ``127.0.0.1:8080`` or ``[::1]:8080``."""
        host = f"[{self.host_ip}]" if self.host_ip.version == 6 else str(self.host_ip)
        return f"{host}:{self.host_port}"

    def overlaps(self, other: PublishedPort) -> bool:
        """Whether the two would listen at the same place."""
        if (self.proto, self.host_port) != (other.proto, other.host_port) or not self.host_port:
            return False
        one, two = self.host_ip, other.host_ip
        return one.version == two.version and (one == two or one.is_unspecified or two.is_unspecified)

    def __str__(self) -> str:
        return f"{self.where}->{self.port}/{self.proto}"


def published_ports(publish: object, host_ip: object) -> tuple[PublishedPort, ...]:
    """The values of a ``publish=`` parameter; a ``host_port`` of 0 is one that the kernel is to choose."""
    where = ip_address(host_ip, "host_ip")
    found: list[PublishedPort] = []
    for each in _parsed(publish, where):
        twice = next((other for other in found if each.overlaps(other)), None)
        if twice is not None:
            raise SpecError(f"publish: {each} and {twice} would listen at the same port")
        found.append(each)
        if len(found) > _MOST:
            raise SpecError(f"publish: more than {_MOST} ports")
    return tuple(found)


def _parsed(publish: object, where: IPAddress) -> Iterable[PublishedPort]:
    if isinstance(publish, Mapping):
        return _of_mapping(publish, where)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(publish, (str, int)):
        return _of_text(publish, where)
    if not isinstance(publish, Iterable):
        raise SpecError(f"publish {shown(publish)} is no list: give {{8080: 80}}, or texts of {_FORM}")
    items: Iterable[object] = publish  # pyright: ignore[reportUnknownVariableType]
    return [port for item in items for port in _of_text(item, where)]


def _of_mapping(publish: Mapping[object, object], where: IPAddress) -> list[PublishedPort]:
    for key, value in publish.items():
        if isinstance(key, str) or isinstance(value, str):  # docker-py has them the other way round
            raise SpecError(
                f"publish {shown({key: value})}: a mapping is of numbers, host port to port inside, TCP: "
                f"{{8080: 80}}; for all else give texts of {_FORM}"
            )
    return [
        PublishedPort("tcp", where, port(key, "publish: host port"), port(value, "publish: port"))
        for key, value in publish.items()
    ]


def _of_text(item: object, where: IPAddress) -> list[PublishedPort]:
    if isinstance(item, bool) or not isinstance(item, (str, int)):
        raise SpecError(f"publish {shown(item)} is a {type(item).__name__}: give a text of {_FORM}")
    what = f"publish {shown(item)}"
    rest, slash, proto = str(item).partition("/")
    if slash and proto not in ("tcp", "udp"):
        raise SpecError(f"{what}: the protocol is tcp or udp, not {proto!r}")
    host, ports = _split(rest, what)
    outer, colon, inner = ports.rpartition(":")
    first, last = port_range(inner, f"{what}: port")
    if colon and outer:
        low, high = port_range(outer, f"{what}: host port")
        if high - low != last - first:
            raise SpecError(f"{what}: {high - low + 1} ports cannot lead to {last - first + 1}")
        outers = list(range(low, high + 1))
    else:
        outers = [0] * (last - first + 1)
    address = where if host is None else ip_address(host, f"{what}: host address")
    return [
        PublishedPort(proto or "tcp", address, out, number)
        for out, number in zip(outers, range(first, last + 1), strict=True)
    ]


def _split(text: str, what: str) -> tuple[str | None, str]:
    """The host address, if there is one, and the ports."""
    if text.startswith("["):
        host, bracket, ports = text[1:].partition("]:")
        if not bracket:
            raise SpecError(f"{what} has no form {_FORM}: '[::1]:8080:80'")
        return host, ports
    if text.count(":") > 2:
        raise SpecError(f"{what}: an IPv6 address is written in brackets: '[::1]:8080:80'")
    if text.count(":") == 2:
        host, _, ports = text.partition(":")
        return host, ports
    return None, text
