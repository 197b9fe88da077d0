"""Claim: with 10 000 published ports a connection begins as fast as with one; beside iptables' linear rules.

Each is a datagram from a port of its own, sent by the floor's program outside; the server is behind a bridge.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Literal

from netkit import Bridge, Namespace, PortMapping, Scope, VethPair

from .children import Times
from .harness import Child, Setting, Unavailable, interleave
from .report import Claim, Figures

SIZES = (1, 1000, 10_000)
COUNT = 5000
FLAT = 0.8
FIRST = 10_000
BACKENDS: tuple[Literal["nftables", "iptables"], ...] = ("nftables", "iptables")


@contextmanager
def network() -> Generator[tuple[Namespace, Namespace]]:
    """The host, and who is outside of it."""
    with Scope() as lab:
        host, box = lab.own(Namespace()), lab.own(Namespace())
        outside = lab.own(Namespace("datagrams"))
        bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/16"))
        bridge.connect(box, name="port", peer_name="eth0", peer_address="172.18.0.2/16", default_route=True)
        lab.own(
            VethPair(
                host,
                outside,
                name="wan",
                peer_name="eth0",
                address="192.0.2.1/24",
                peer_address="192.0.2.2/24",
            )
        )
        server = box.socket(kind := 2, kind)  # AF_INET, SOCK_DGRAM: it need not read
        server.bind(("172.18.0.2", 80))
        try:
            yield host, outside
        finally:
            server.close()


def _publish(host: Namespace, size: int, backend: Literal["nftables", "iptables"]) -> PortMapping:
    """The last of them is asked."""
    many = {FIRST + number: "172.18.0.2:80" for number in range(size)}
    return host.publish_many(many, proto="udp", reserve=False, backend=backend).create()


def _asked(child: Child, host: Namespace, size: int, backend: Literal["nftables", "iptables"]) -> float:
    """Seconds for so many connections, each of which was translated."""
    with _publish(host, size, backend):
        host.conntrack.delete(proto="udp")
        seconds = child.seconds("datagrams", f"192.0.2.1:{FIRST + size - 1}", COUNT)
        led = host.conntrack.count(proto="udp", reply_saddr="172.18.0.2")
        host.conntrack.delete(proto="udp")
    if led != COUNT:
        raise Unavailable(f"{led} of {COUNT} connections were led to the server")
    return seconds


def _measures(child: Child, host: Namespace, setting: Setting) -> Mapping[str, Callable[[], float]]:
    def bind(size: int, backend: Literal["nftables", "iptables"]) -> Callable[[], float]:
        return lambda: _asked(child, host, size, backend)

    wanted = [(backend, size) for backend in BACKENDS for size in setting.sizes or SIZES]
    return {f"netkit, {backend}, {size}": bind(size, backend) for backend, size in wanted}


def _rate(times: Times, name: str) -> float | None:
    return COUNT / median(times[name]) if name in times else None


def run(setting: Setting) -> list[Figures]:
    """Connections per second."""
    with network() as (host, outside):
        child = Child([str(setting.floor)])
        try:
            child.ask("enter", outside.path)
            times, failed = interleave(_measures(child, host, setting), min(setting.rounds, 7))
        finally:
            child.close()
    one, most = (_rate(times, f"netkit, nftables, {size}") for size in (SIZES[0], SIZES[-1]))
    flat = None if one is None or most is None else most / one
    return [
        Figures(
            f"connections through the last of so many published ports, {COUNT} at a time",
            ("per second",),
            {name: (COUNT / median(seconds),) for name, seconds in times.items()},
            failed,
            claims=[
                Claim(
                    f"netkit: through {SIZES[-1]} at least {FLAT} times the rate through one",
                    flat,
                    FLAT,
                    at_most=False,
                )
            ],
            extra={"claim": "connections"},
        )
    ]
