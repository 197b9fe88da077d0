"""pyroute2's IPRoute: named namespaces, one IPRoute per namespace, ends created in place."""

from __future__ import annotations

from contextlib import ExitStack
from socket import AF_INET
from typing import Any

from pyroute2 import IPRoute, netns

from . import NAMES
from .pyroute2_nat import add_rules


def _up(ipr: Any, name: str, **more: Any) -> int:
    index: int = ipr.link_lookup(ifname=name)[0]
    ipr.link("set", index=index, state="up", **more)
    return index


def _veth(ipr: Any, name: str, peer: str, peer_namespace: str) -> None:
    ipr.link("add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": peer_namespace})


def _end(ipr: Any, name: str, address: str, default: bool = True) -> None:
    index = _up(ipr, name)
    ipr.addr("add", index=index, address=address, prefixlen=24)
    if default:
        ipr.route("add", family=AF_INET, dst="default", oif=index, scope="link")


def _open(name: str, stack: ExitStack) -> Any:
    netns.create(name)
    ipr = stack.enter_context(IPRoute(netns=name, flags=0))
    _up(ipr, "lo")
    return ipr


def _host(host: Any) -> None:
    host.link("add", ifname="br0", kind="bridge")
    bridge = _up(host, "br0")
    _veth(host, "enp1s0", "eth0", "outside")
    _end(host, "enp1s0", "192.168.122.220", default=False)
    _veth(host, "veth0", "veth1", "box")
    _up(host, "veth0", master=bridge)
    host.route("add", dst="172.18.0.0/24", oif=bridge, scope="link")


def forward() -> None:
    """pyroute2 has no sysctls: write the files from inside. For br0's see commands.py."""
    netns.pushns("host")
    try:
        for key, value in (("ip_forward", 1), ("conf/br0/proxy_arp", 1), ("neigh/br0/proxy_delay", 0)):
            with open(f"/proc/sys/net/ipv4/{key}", "w") as file:
                file.write(str(value))
    finally:
        netns.popns()


class Demo:
    """See contestants.Demo."""

    def build(self) -> None:
        with ExitStack() as stack:
            ns1, ns2, host, box, outside = (_open(name, stack) for name in NAMES)
            _veth(ns1, "veth0", "veth1", "ns2")
            _end(ns1, "veth0", "172.18.0.2")
            _end(ns2, "veth1", "172.18.0.3")
            _host(host)
            _end(box, "veth1", "172.18.0.2")
            _end(outside, "eth0", "192.168.122.1", default=False)
            forward()
            add_rules("host")

    def teardown(self) -> None:
        for name in NAMES:
            netns.remove(name)

    def namespaces(self) -> dict[str, str]:
        return {name: f"/run/netns/{name}" for name in NAMES}
