"""Whether a contestant really built the star, as `ip -j` tells it and a packet between two ends of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from . import check_packets, plan
from .check_demo import Wrong

Place = Callable[[int], str]
CALLS = 10
SAMPLES = 5  # containers looked into: the first, the last, and some in between


def _ip(path: str, *words: str) -> Any:
    command = ["nsenter", f"--net={path}", "ip", "-j", *words]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout or "[]")


def _kind(link: dict[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _expect(what: str, wanted: object, found: object) -> None:
    if wanted != found:
        raise Wrong(f"{what}: wanted {wanted}, found {found}")


def check_hub(path: str, size: int) -> None:
    """So many veth ports as there are containers, besides those that link the bridges; all up.

    A `Topology` has its boxes at more and smaller bridges than the plan: see `Topology.star`.
    """
    links = _ip(path, "-d", "link")
    bridges = {link["ifname"] for link in links if _kind(link) == "bridge"}
    ports = [link for link in links if _kind(link) == "veth"]
    if len(bridges) < plan.bridges(size):
        raise Wrong(f"bridges in the hub: wanted {plan.bridges(size)} at least, found {len(bridges)}")
    _expect("ports in the hub", size + 2 * (len(bridges) - 1), len(ports))
    _expect("masters of the ports", bridges, {link.get("master") for link in ports})
    down = [link["ifname"] for link in links if link["ifname"] != "lo" and "UP" not in link["flags"]]
    _expect("links in the hub that are down", [], down)


def check_container(path: str, number: int) -> None:
    """One link besides `lo`, up; the address; the default route by the gateway. CNI leaves `lo` down."""
    links = [link for link in _ip(path, "address") if link["ifname"] != "lo"]
    _expect(f"links of container {number}", 1, len(links))
    _expect(f"whether the link of container {number} is up", True, "UP" in links[0]["flags"])
    addresses = {
        f"{address['local']}/{address['prefixlen']}"
        for link in links
        for address in link["addr_info"]
        if address["family"] == "inet"
    }
    _expect(f"addresses of container {number}", {f"{plan.address(number)}/{plan.PREFIX}"}, addresses)
    routes = {route.get("gateway") for route in _ip(path, "-4", "route", "show", "default")}
    _expect(f"default routes of container {number}", {plan.gateway()}, routes)


def check(hub: str, place: Place, size: int) -> None:
    """Raises Wrong unless the hub and the containers looked into are as planned, and two of them talk."""
    check_hub(hub, size)
    last = size - 1
    for number in sorted({last * part // (SAMPLES - 1) for part in range(SAMPLES)}):
        check_container(place(number), number)
    _check_call(place, last)


def _check_call(place: Place, last: int) -> None:
    """More than once: what a thousand containers say by themselves at first can drown an ARP request."""
    client, server, seen = place(0), place(last), ""
    for _ in range(CALLS):
        seen = check_packets.seen(server, client, plan.address(last), 7000)
        if seen == plan.address(0):
            return
    raise Wrong(f"container {last} sees {seen!r} calling, not {plan.address(0)}")
