"""NatRule: one rule of network address translation, by either backend."""

from __future__ import annotations

from netkit._known import require_namespace
from netkit._link import require_device
from netkit._nat.backend_rule import BackendRule
from netkit._spec import nat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._spec._nat_match import AddressMatch, NatPort
    from netkit._spec._nat_options import Spread, Targets
    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import IPNetwork
    from netkit._spec.nat import NatSpec
    from netkit._spec.routes import DeviceLike


class NatRule(BackendRule):
    """One NAT rule in a namespace. Made by `masquerade`, `snat`, `dnat`, `redirect` and `tproxy`.

    Keywords are nft's. A value that begins with ``!= `` negates: ``oif="!= br0"``. Ports need
    ``proto`` (``tcp``, ``udp`` or ``sctp``) and may be ranges: ``"8000-8010"``. ``saddr`` and ``daddr``
    may be several networks to leave out: ``daddr=["!= 172.18.0.0/24", "!= 224.0.0.0/4"]``. ``backend`` is
    ``"nftables"`` (netlink only; the rules die with this process), ``"iptables"`` (legacy
    tables, through python-iptables), or None: nftables where the kernel has it.

    `adopt` takes over a rule that says the same and that nobody owns. Rules of iptables bear no mark, so
    equal ones are counted: one can be adopted if there are more than this program and living processes own,
    else it is StateError. Which of them is whose makes no difference: they do the same; the last one goes.

    Twin: ``nft add rule``, ``iptables -t nat -A``. Raises SpecError for bad values before any system call,
    BackendError when neither backend works, UnsupportedError for what the kernel lacks.
    Needs CAP_NET_ADMIN over the namespace; CONFIG_NFT_NAT and CONFIG_NFT_MASQ, or CONFIG_IP_NF_NAT.
    Source: nft(8), iptables-extensions(8). NAT of packets that pass through also needs
    ``net.ipv4.ip_forward``, which no rule turns on.

    Examples:
        >>> from netkit import Namespace, NatRule
        >>> with Namespace() as host:
        ...     with NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0") as rule:
        ...         print(rule.backend, rule.counters.packets)
        nftables 0
    """

    def __init__(
        self, ns: Namespace, spec: NatSpec, backend: Literal["nftables", "iptables"] | None = None
    ) -> None:
        super().__init__(ns, spec, backend)
        self._says = spec

    # -- the five kinds -----------------------------------------------------------

    @classmethod
    def masquerade(
        cls,
        ns: Namespace,
        *,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        oif: DeviceLike | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        to: NatPort | None = None,
        random: bool = False,
        fully_random: bool = False,
        family: Literal[4, 6] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
    ) -> NatRule:
        """What leaves gets the address of the device it leaves by as its source.

        ``to`` is a port or a range of ports to use; ``random`` chooses among them, ``fully_random``
        without regard to the port of the client (nft's ``random`` and ``fully-random``). Twins: ``nft add
        rule ... oifname "eth0" ip saddr 172.18.0.0/24 masquerade``; ``iptables -t nat -A POSTROUTING -s
        172.18.0.0/24 -o eth0 -j MASQUERADE``. Raises SpecError for bad values.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     print(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="!= br0").spec)
            oifname != "br0" ip saddr 172.18.0.0/24 masquerade
        """
        _require_device(oif, ns, "oif")
        spec = nat.masquerade(
            saddr=saddr, daddr=daddr, oif=oif, proto=proto, sport=sport, dport=dport, to=to, family=family,
            random=random, fully_random=fully_random,
        )  # fmt: skip
        return cls(ns, spec, backend)

    @classmethod
    def snat(
        cls,
        ns: Namespace,
        *,
        to: NatTarget | IPNetwork,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        oif: DeviceLike | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        persistent: bool = False,
        random: bool = False,
        fully_random: bool = False,
        prefix: bool = False,
        family: Literal[4, 6] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
    ) -> NatRule:
        """What leaves gets the source address ``to``: an address or a range, with ports or without.

        Of a range, ``persistent`` gives a client the same address each time. ``random`` and
        ``fully_random`` are for ports, as in `masquerade`. With ``prefix``, ``to`` is a network, and each
        address keeps its lower bits: ``snat(saddr="10.1.0.0/24", to="192.0.2.0/24", prefix=True)`` is
        ``nft ... snat prefix to 192.0.2.0/24`` (Linux 5.8) and ``iptables ... -j NETMAP --to 192.0.2.0/24``.

        Twins: ``nft ... snat to 192.0.2.1``; ``iptables -t nat -A POSTROUTING ... -j SNAT --to-source``.
        Raises SpecError for bad values.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     print(NatRule.snat(host, saddr="10.1.0.0/24", to="192.0.2.1-192.0.2.4").spec)
            ip saddr 10.1.0.0/24 snat to 192.0.2.1-192.0.2.4
        """
        _require_device(oif, ns, "oif")
        spec = nat.snat(
            to=to, saddr=saddr, daddr=daddr, oif=oif, proto=proto, sport=sport, dport=dport, family=family,
            persistent=persistent, random=random, fully_random=fully_random, prefix=prefix,
        )  # fmt: skip
        return cls(ns, spec, backend)

    @classmethod
    def dnat(
        cls,
        ns: Namespace,
        *,
        to: Targets | IPNetwork | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        iif: DeviceLike | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        local: bool = False,
        persistent: bool = False,
        random: bool = False,
        prefix: bool = False,
        spread: Spread | None = None,
        family: Literal[4, 6] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
    ) -> NatRule:
        """What arrives (and with ``local=True`` what is sent here) goes to ``to``.

        ``to`` is ``"172.18.0.2:80"``, ``"[fd00::2]:80"``, an address, or a range, or with ``prefix`` a
        network, as in `snat`. With ``spread``, ``to`` is a list, and each connection goes to one of it:
        ``"inc"`` takes them in turn, ``"random"`` any, ``"jhash"`` the same one for the same client
        (nftables only). nft's words for that are ``numgen inc``, ``numgen random`` and ``jhash ip saddr``,
        iptables' ``-m statistic``. Twins: ``nft ... tcp
        dport 80 dnat to 172.18.0.2:80``; ``iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT
        --to-destination 172.18.0.2:80``. Raises SpecError for bad values, and without ``to``.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     print(NatRule.dnat(host, iif="eth0", proto="tcp", dport=80, to="172.18.0.2:8080").spec)
            iifname "eth0" tcp dport 80 dnat to 172.18.0.2:8080
        """
        _require_device(iif, ns, "iif")
        spec = nat.dnat(
            to=to, saddr=saddr, daddr=daddr, iif=iif, proto=proto, sport=sport, dport=dport,
            local=local, family=family, persistent=persistent, random=random, prefix=prefix, spread=spread,
        )  # fmt: skip
        return cls(ns, spec, backend)

    @classmethod
    def redirect(
        cls,
        ns: Namespace,
        *,
        to: NatPort | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        iif: DeviceLike | None = None,
        proto: str | int | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        local: bool = False,
        random: bool = False,
        family: Literal[4, 6] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
    ) -> NatRule:
        """What arrives goes to this namespace itself, to port ``to``.

        Twins: ``nft ... tcp dport 80 redirect to :8080``; ``iptables -t nat -A PREROUTING -p tcp
        --dport 80 -j REDIRECT --to-ports 8080``. Raises SpecError for bad values.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     print(NatRule.redirect(host, proto="udp", dport=53, to=5353).spec)
            udp dport 53 redirect to :5353
        """
        _require_device(iif, ns, "iif")
        spec = nat.redirect(
            to=to, saddr=saddr, daddr=daddr, iif=iif, proto=proto, sport=sport, dport=dport,
            local=local, family=family, random=random,
        )  # fmt: skip
        return cls(ns, spec, backend)

    @classmethod
    def tproxy(
        cls,
        ns: Namespace,
        *,
        to: NatTarget | NatPort,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        iif: DeviceLike | None = None,
        proto: Literal["tcp", "udp"] = "tcp",
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        mark: int = 0x1000000,
        family: Literal[4, 6] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
    ) -> NatRule:
        """What passes through, or arrives, goes to a transparent proxy here: its addresses stay as they are.

        The proxy is a socket of this namespace with ``IP_TRANSPARENT`` (or ``IPV6_TRANSPARENT``), which
        listens at the port ``to``; ``"127.0.0.1:3128"`` says at which address. Its connections have the
        client's address as the peer's, and as their own the one that the client asked for. What no such
        socket takes is dropped: nothing gets past a proxy that has ended.

        What comes for a connection that a transparent socket has is marked as well, by whatever device: so a
        proxy may ask the server in the client's name (``bind`` to the client's address), and is answered.

        With it come a policy rule for ``mark`` (bits that the rule sets; others stay) and a table with the
        route that delivers here, ``local default dev lo``. Without a family both are made.

        Twins: ``nft add rule ... tcp dport 80 tproxy to :3128 meta mark set 1 accept``; ``iptables -t mangle
        -A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 3128 --tproxy-mark 1``; both with ``ip rule add
        fwmark 1 lookup 100`` and ``ip route add local default dev lo table 100``. Raises SpecError for bad
        values; its creation ExistsError for a second rule that says the same. Needs CONFIG_NFT_TPROXY or
        CONFIG_NETFILTER_XT_TARGET_TPROXY, each with its match socket; CONFIG_IP_MULTIPLE_TABLES. Source:
        tproxy.rst of the kernel.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     with NatRule.tproxy(host, iif="eth0", dport=80, to=3128) as rule:
            ...         print(rule.spec)
            iifname "eth0" tcp dport 80 tproxy to :3128 meta mark set meta mark or 0x1000000
        """
        from netkit._nat.tproxy import TproxyRule
        from netkit._spec.nat_tproxy import tproxy

        _require_device(iif, ns, "iif")
        spec = tproxy(
            to=to, saddr=saddr, daddr=daddr, iif=iif, proto=proto, sport=sport, dport=dport, mark=mark,
            family=family,
        )  # fmt: skip
        return TproxyRule(ns, spec, backend)

    # -- reading ------------------------------------------------------------------

    @property
    def spec(self) -> NatSpec:
        """What the rule says, as a frozen value."""
        return self._says

    def __repr__(self) -> str:
        backend = self.backend or "backend by probing"
        return f"<NatRule {self._spec} ({backend}) in {self._netns._called()}{self._aside()}>"


def _require_device(dev: DeviceLike | None, ns: Namespace, what: str) -> None:
    require_device(dev, require_namespace(ns, "ns"), what)
