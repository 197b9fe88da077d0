"""Whether a contestant really built the demo's network, as `ip -j`, `nft -j` and iptables tell it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping

ADDRESSES = {
    "ns1": {("veth0", "172.18.0.2/24")},
    "ns2": {("veth1", "172.18.0.3/24")},
    "host": {("enp1s0", "192.168.122.220/24")},
    "box": {("veth1", "172.18.0.2/24")},
    "outside": {("eth0", "192.168.122.1/24")},
}
ROUTES = {
    "ns1": {("default", "veth0"), ("172.18.0.0/24", "veth0")},
    "ns2": {("default", "veth1"), ("172.18.0.0/24", "veth1")},
    "host": {("172.18.0.0/24", "br0"), ("192.168.122.0/24", "enp1s0")},
    "box": {("default", "veth1"), ("172.18.0.0/24", "veth1")},
    "outside": {("192.168.122.0/24", "eth0")},
}
LINKS = {
    "ns1": {"lo", "veth0"},
    "ns2": {"lo", "veth1"},
    "host": {"lo", "br0", "enp1s0", "veth0"},
    "box": {"lo", "veth1"},
    "outside": {"lo", "eth0"},
}
SYSCTLS = {"ip_forward": "1", "conf/br0/proxy_arp": "1", "neigh/br0/proxy_delay": "0"}
NFT_LEAVES = {"172.18.0.0", 24, "enp1s0", "172.18.0.2", 80}
IPTABLES = (
    "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE",
    "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80",
)


class Wrong(Exception):
    """The network is not the one asked for."""


def _inside(path: str, *command: str) -> str:
    done = subprocess.run(["nsenter", f"--net={path}", *command], capture_output=True, text=True, check=True)
    return done.stdout


def _expect(where: str, what: str, wanted: object, found: object) -> None:
    if wanted != found:
        raise Wrong(f"{what} in {where}: wanted {wanted}, found {found}")


def _check_links(where: str, path: str) -> None:
    links = {link["ifname"]: link for link in json.loads(_inside(path, "ip", "-j", "address"))}
    _expect(where, "links", LINKS[where], set(links))
    down = {name for name, link in links.items() if "UP" not in link["flags"]}
    _expect(where, "links that are down", set(), down)
    addresses = {
        (name, f"{address['local']}/{address['prefixlen']}")
        for name, link in links.items()
        for address in link["addr_info"]
        if address["family"] == "inet" and name != "lo"
    }
    _expect(where, "addresses", ADDRESSES[where], addresses)
    if where == "host":
        _expect(where, "master of veth0", "br0", links["veth0"].get("master"))


def _check_routes(where: str, path: str) -> None:
    routes = json.loads(_inside(path, "ip", "-j", "-4", "route"))
    _expect(where, "routes", ROUTES[where], {(route["dst"], route.get("dev")) for route in routes})


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _nft_rules(path: str) -> bool:
    """Values only: whether a rule, a map or a set holds them is the contestant's business."""
    listed = json.loads(_inside(path, "nft", "-j", "list", "ruleset"))
    found = {leaf for leaf in _leaves(listed) if isinstance(leaf, (str, int))}
    return found >= NFT_LEAVES and {"masquerade", "dnat"} <= found


def _iptables_rules(path: str) -> bool:
    if shutil.which("iptables-legacy") is None:
        return False
    lines = _inside(path, "iptables-legacy", "-t", "nat", "-S").splitlines()
    return all(rule in lines for rule in IPTABLES)


def check(namespaces: Mapping[str, str]) -> None:
    """Raises Wrong unless links, addresses, routes, forwarding and NAT rules are the demo's."""
    for where, path in namespaces.items():
        _check_links(where, path)
        _check_routes(where, path)
    host = namespaces["host"]
    for key, value in SYSCTLS.items():
        _expect("host", key, value, _inside(host, "cat", f"/proc/sys/net/ipv4/{key}").strip())
    if not _nft_rules(host) and not _iptables_rules(host):
        raise Wrong(f"NAT rules in host: {_inside(host, 'nft', 'list', 'ruleset')!r}")
