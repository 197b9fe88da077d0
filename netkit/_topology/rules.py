"""What a namespace of a plan is given beside its links: routes, sysctls, NAT."""

from __future__ import annotations

from netkit._topology import checks, rule_checks
from netkit._topology.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from netkit._spec._nat_match import AddressMatch, NatPort
    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import AddressLike, NetworkLike

    Backend = Literal["nftables", "iptables"]


class Rules(Plan):
    """The verbs for routes, sysctls and NAT."""

    def add_route(
        self,
        namespace: str,
        dst: NetworkLike,
        *,
        via: AddressLike | None = None,
        dev: str | None = None,
        src: AddressLike | None = None,
        metric: int | None = None,
        mtu: int | None = None,
        onlink: bool = False,
        type: str = "unicast",
        family: Literal[4, 6] | None = None,
    ) -> None:
        """Add a route to a namespace; the keywords are those of `RouteTable.add`.

        ``dst`` may be the name of a bridge (its network) or of a namespace (its first address), ``via`` that
        of a neighbour. Twin: ``ip route add``.
        """
        options = {
            "via": via, "dev": dev, "src": src, "metric": metric, "mtu": mtu, "onlink": onlink,
            "type": type, "family": family,
        }  # fmt: skip
        plan = self._namespace(namespace)
        self._namespaces[plan.name] = plan._with(
            routes=(*plan.routes, rule_checks.route(dst, options, self._known()))
        )

    def set_sysctl(self, namespace: str, key: str, value: str | int) -> None:
        """Set a sysctl of a namespace, ``net.ipv4.tcp_syncookies`` for one. Twin: ``sysctl -w``."""
        plan = self._namespace(namespace)
        pairs = {**dict(plan.sysctls), **dict([checks.sysctl(key, value)])}
        self._namespaces[plan.name] = plan._with(sysctls=tuple(pairs.items()))

    def masquerade(
        self,
        namespace: str,
        *,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        oif: str | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        to: NatPort | None = None,
        family: Literal[4, 6] | None = None,
        backend: Backend | None = None,
    ) -> None:
        """What leaves by ``oif`` gets that device's address: `NatRule.masquerade`, whose keywords it has.

        ``saddr`` and ``daddr`` may be the name of a bridge (its network) or of a namespace (its address); of
        two families the IPv4 one, unless ``family`` is 6.

        Twin: ``nft add rule ... masquerade``.
        """
        options = {
            "saddr": saddr, "daddr": daddr, "oif": oif, "proto": proto, "sport": sport, "dport": dport,
            "to": to, "family": family, "backend": backend,
        }  # fmt: skip
        self._put_nat(namespace, "masquerade", options)

    def snat(
        self,
        namespace: str,
        *,
        to: NatTarget,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        oif: str | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        family: Literal[4, 6] | None = None,
        backend: Backend | None = None,
    ) -> None:
        """What leaves gets the source address ``to``: `NatRule.snat`; names may stand for addresses.

        Twin: ``nft add rule ... snat to``.
        """
        options = {
            "saddr": saddr, "daddr": daddr, "oif": oif, "proto": proto, "sport": sport, "dport": dport,
            "to": to, "family": family, "backend": backend,
        }  # fmt: skip
        self._put_nat(namespace, "snat", options)

    def dnat(
        self,
        namespace: str,
        *,
        to: NatTarget,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        iif: str | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        local: bool = False,
        family: Literal[4, 6] | None = None,
        backend: Backend | None = None,
    ) -> None:
        """What arrives goes to ``to``: `NatRule.dnat`; ``to="web:80"`` is the address of `web`, port 80.

        Twin: ``nft add rule ... dnat to``.
        """
        options = {
            "saddr": saddr, "daddr": daddr, "iif": iif, "proto": proto, "sport": sport, "dport": dport,
            "to": to, "local": local, "family": family, "backend": backend,
        }  # fmt: skip
        self._put_nat(namespace, "dnat", options)

    def redirect(
        self,
        namespace: str,
        *,
        to: NatPort | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        iif: str | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        local: bool = False,
        family: Literal[4, 6] | None = None,
        backend: Backend | None = None,
    ) -> None:
        """What arrives goes to the namespace itself, to port ``to``: `NatRule.redirect`.

        Twin: ``nft add rule ... redirect to``.
        """
        options = {
            "saddr": saddr, "daddr": daddr, "iif": iif, "proto": proto, "sport": sport, "dport": dport,
            "to": to, "local": local, "family": family, "backend": backend,
        }  # fmt: skip
        self._put_nat(namespace, "redirect", options)

    def _put_nat(self, namespace: str, kind: str, options: dict[str, Any]) -> None:
        plan = self._namespace(namespace)
        rule = rule_checks.nat_rule(kind, options, self._known())
        self._namespaces[plan.name] = plan._with(nat=(*plan.nat, rule))
