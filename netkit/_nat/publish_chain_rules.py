"""Published ports in iptables' terms. What ``iptables-legacy -S`` shows, with a suffix that says whose it is:

    -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j NETKIT-PORTS-1a2b3c4d              # and OUTPUT
    -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j NETKIT-MASQ-1a2b3c4d
    -t nat -A NETKIT-PORTS-1a2b3c4d -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80
    -t nat -A NETKIT-MASQ-1a2b3c4d -s 127.0.0.0/8 -j MASQUERADE
    -t nat -A NETKIT-MASQ-1a2b3c4d -s 172.18.0.0/24 -d 172.18.0.0/24 -j MASQUERADE
    -t raw -A PREROUTING -j NETKIT-GUARD-1a2b3c4d
    -t raw -A NETKIT-GUARD-1a2b3c4d -d 127.0.0.0/8 -i br0 -j DROP                           # and -s

It says what the tables of `publish_rules` say. Rules of iptables bear no owner and outlive their maker;
chains have names, by which the guard finds what a dead process has left. A range is one rule, one to one.
"""

from __future__ import annotations

from netkit._nat.publish_rules import FAMILIES
from netkit._spec.addresses import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._nat.iptables_rules import Chains, Rule
    from netkit._nat.publish_part import Network, Part
    from netkit._spec.addresses import IPAddress
    from netkit._spec.port_mapping import PublishSpec

_VERSIONS = {family: version for version, family in FAMILIES.items()}
_PREFIX = "NETKIT"


def chain_name(what: str, suffix: str) -> str:
    """The name of a chain: of our own with a suffix, of what is detached without."""
    return f"{_PREFIX}-{what}-{suffix}" if suffix else f"{_PREFIX}-{what}"


def nat_chains(family: int, suffix: str) -> Chains:
    """The chains of a family (NFPROTO_*) that translate, and what leads into them."""
    version = _VERSIONS[family]
    ports, masquerading = chain_name("PORTS", suffix), chain_name("MASQ", suffix)
    arriving, sent, leaving = [
        _rule(version, "nat", chain, target)
        for chain, target in (("PREROUTING", ports), ("OUTPUT", ports), ("POSTROUTING", masquerading))
    ]
    arriving["dst_type"] = sent["dst_type"] = "LOCAL"
    leaving["ctstate"] = "DNAT"
    rules = [arriving, sent, leaving]
    if version == 6:  # DNAT would send ::1 as the source: who connects to ::1 gets to our relay
        sent["dst"] = "!::1/128"
    near = "127.0.0.0/8" if version == 4 else "fe80::/10"
    rules.append(_rule(version, "nat", masquerading, "MASQUERADE", src=near))
    return {"family": version, "table": "nat", "names": [ports, masquerading], "rules": rules}


def guard_chains(suffix: str) -> Chains:
    """The chain that lets no loopback addresses in, before all else."""
    name = chain_name("GUARD", suffix)
    jump = _rule(4, "raw", "PREROUTING", name)
    jump["position"] = "insert"
    return {"family": 4, "table": "raw", "names": [name], "rules": [jump]}


def port_rules(part: Part, suffix: str) -> list[Rule]:
    """The rules that lead to the targets: what is of one address comes before what is of all."""
    chain = chain_name("PORTS", suffix)
    return [
        rule for spec in part.specs.all() if not spec.only_relayed for rule in _rules_of(spec, chain)
    ]  # fmt: skip


def port_of_both(one: Rule, other: Rule) -> int | None:
    """The first port that both would lead somewhere; what is of all addresses is of each one, too."""
    addresses = {rule["dst"] for rule in (one, other) if "dst" in rule}
    if one.get("protocol") != other.get("protocol") or len(addresses) > 1:
        return None
    (low, high), (first, last) = [_ends(rule.get("dport", "0")) for rule in (one, other)]
    return max(low, first) if low <= last and first <= high else None


def target_words(rule: Rule, port: int) -> str:
    """Where a rule leads this port."""
    ports, _, first = rule.get("to_ports", "0").partition("/")
    number = int(ports.partition("-")[0]) + (port - int(first) if first else 0)
    to = rule.get("to", "")
    return f"[{to}]:{number}" if ":" in to else f"{to}:{number}"


def _ends(dport: str) -> tuple[int, int]:
    low, _, high = dport.partition(":")
    return int(low), int(high or low)


def _rules_of(spec: PublishSpec, chain: str) -> Iterable[Rule]:
    dport, to_ports = _range(spec.ports, ":"), _range(spec.to_ports, "-")
    if ":" in dport:
        to_ports += f"/{spec.ports[0]}"  # the kernel itself does not keep the offset in a range
    for target in spec.targets:
        for proto in spec.protos:
            rule = _rule(target.version, "nat", chain, "DNAT")
            rule["protocol"], rule["dport"] = proto, dport
            rule["to"], rule["to_ports"] = str(target), to_ports
            if spec.host_ip is not None and not spec.host_ip.is_unspecified:
                rule["dst"], rule["position"] = _alone(spec.host_ip), "insert"
            yield rule


def network_rules(networks: Iterable[Network], suffix: str) -> list[Rule]:
    """Masquerade who asks from the target's own subnet."""
    chain = chain_name("MASQ", suffix)
    rules: list[Rule] = []
    for family, network, length in sorted(networks):
        text = f"{address_of(network)}/{length}"
        rules.append(_rule(_VERSIONS[family], "nat", chain, "MASQUERADE", src=text))
        rules[-1]["dst"] = text
    return rules


def device_rules(devices: Iterable[str], suffix: str) -> list[Rule]:
    """Let no loopback addresses in by these devices."""
    chain = chain_name("GUARD", suffix)
    rules: list[Rule] = []
    for name in sorted(devices):
        to, by = _rule(4, "raw", chain, "DROP"), _rule(4, "raw", chain, "DROP", src="127.0.0.0/8")
        to["dst"] = "127.0.0.0/8"
        to["in_interface"] = by["in_interface"] = name
        rules += [to, by]
    return rules


def _rule(version: int, table: str, chain: str, target: str, *, src: str = "") -> Rule:
    rule: Rule = {
        "family": version, "table": table, "chain": chain, "position": "append", "target": target
    }  # fmt: skip
    if src:
        rule["src"] = src
    return rule


def _alone(address: IPAddress) -> str:
    return f"{address}/{address.max_prefixlen}"


def _range(ports: tuple[int, int], separator: str) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}{separator}{ports[1]}"
