"""One NAT rule as a namespace has it, whoever made it."""

from __future__ import annotations

from netkit._spec.value import Value

_set = object.__setattr__


class NatEntry(Value):
    """One NAT rule that a namespace has, frozen; what iterating over ``ns.nat`` gives.

    ``rule`` is its text: nft's words, a line of ``iptables -S``, or what `PortMapping.specs` says of a port
    that this process has published. ``backend`` is ``"nftables"`` or ``"iptables"`` (the legacy tables).
    ``table`` and ``chain`` are where it stands, ``"ip nat"`` and ``"POSTROUTING"``. ``ours`` says whether it
    is this process's; ``by`` is what made it, if that can be told: ``"netkit"``, ``"docker"``,
    ``"iptables-nft"``, or None.

    Twin: a line of ``nft list ruleset`` or of ``iptables-legacy -t nat -S``. Source: nft(8).
    """

    __slots__ = _fields = ("rule", "backend", "table", "chain", "ours", "by")

    rule: str
    backend: str
    table: str
    chain: str
    ours: bool
    by: str | None

    def __init__(self, rule: str, backend: str, table: str, chain: str, ours: bool, by: str | None) -> None:
        for name, value in zip(self._fields, (rule, backend, table, chain, ours, by), strict=True):
            _set(self, name, value)

    def __str__(self) -> str:
        whose = "ours" if self.ours else self.by or "foreign"
        return f"{self.rule} ({whose}, {self.backend} {self.table} {self.chain})"

    def __repr__(self) -> str:
        return f"<NatEntry {self}>"


# By whom, told by the first words of a table's or a chain's name. Sources: the programs' own rule sets.
_TABLES = {
    "netkit": "netkit", "netavark": "podman", "docker-": "docker", "firewalld": "firewalld",
    "kube-proxy": "kubernetes", "libvirt": "libvirt", "cni_": "cni", "incus": "incus", "lxd": "lxd",
    "io.systemd.": "systemd",
}  # fmt: skip
_CHAINS = {
    "NETKIT-": "netkit", "NETAVARK": "podman", "DOCKER": "docker", "CNI-": "cni", "KUBE-": "kubernetes",
    "LIBVIRT_": "libvirt", "cali-": "calico", "CILIUM_": "cilium", "ts-": "tailscale", "ufw": "ufw",
    "MINIUPNPD": "miniupnpd",
}  # fmt: skip
_DEVICES = {
    "docker0": "docker", "virbr": "libvirt", "podman": "podman", "cni-podman": "podman", "lxcbr": "lxc",
}  # fmt: skip


def made_by(backend: str, family: str, table: str, chain: str, rule: str) -> str | None:
    """The program that made a rule, by its table, its chain, or the device or the comment in it."""
    found = _first(_TABLES, table) or _first(_CHAINS, chain)
    if found is not None:
        return found
    words = rule.replace('"', " ").split()
    for word in words:
        named = _first(_DEVICES, word) or _first(_CHAINS, word)
        if named is not None:
            return named
    plain = backend == "nftables" and family != "inet" and table == "nat"
    return "iptables-nft" if plain and chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING") else None


def _first(known: dict[str, str], name: str) -> str | None:
    return next((tool for start, tool in known.items() if name.startswith(start)), None)
