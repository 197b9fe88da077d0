"""What a namespace publishes of others: `publish` and `publish_many`."""

from __future__ import annotations

from netkit.errors import naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._nat.publish import PortMapping
    from netkit._nat.publish_targets import Target
    from netkit._spec.addresses import AddressLike
    from netkit._spec.port_mapping import PortLike


class Publishing:
    """The part of a Namespace that makes ports of it lead elsewhere."""

    def _itself(self) -> Namespace:
        return self  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def publish(
        self,
        port: PortLike,
        *,
        to: Target,
        proto: str | Iterable[str] = "tcp",
        host_ip: AddressLike | None = None,
        hairpin: bool = True,
        reserve: bool = True,
        relay: bool | Literal["helper"] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
        open_forward: bool | None = None,
    ) -> PortMapping:
        """Ports of this namespace that lead to another one: for `with`, create() or `Scope.own`.

        They are reached from outside, from here by any address, 127.0.0.1 and ::1 too, from neighbours of
        the target, and from the target itself. Twin: ``docker run -p``; with nft, DNAT by a map and
        masquerading of who would get the answer from the wrong address.

        Args:
            port: one, or a range such as ``"8000-8010"``, mapped one to one.
            to: ``"172.18.0.2:80"``, ``"[fd00::2]:80"``, an address (the same ports), a Namespace or a Link
                (the first global address of each family that is connected here), or a pair with a port.
            proto: ``"tcp"``, ``"udp"``, ``"sctp"``, or several.
            host_ip: the one address to publish; None for all of them, ``"0.0.0.0"`` for all of IPv4.
            hairpin: let a bridge port of netkit's send frames back, where bridge-nf-call-iptables needs it.
            reserve: bind the ports while this process lives, so that no other program takes them.
            relay: pass on what is sent to ::1, by a thread of this process; as ``reserve`` if left out.
                ``"helper"``: a process of its own holds the ports and does that, and goes on after detach().
            backend: ``"nftables"``; ``"iptables"`` (legacy, by python-iptables); None: nftables if there.
            open_forward: where a chain drops what nobody accepts (FORWARD with Docker): None is StateError
                that names it; True inserts an accept for the targets there meanwhile; False leaves it to you.

        ``net.ipv4.conf.DEVICE.route_localnet`` of the device that leads to the target is 1 meanwhile, and
        hairpin mode of its bridge port, on netkit's own devices only; a namespace of netkit's forwards. Where
        the target has several ways out, ``rp_filter`` of those of netkit's devices that are strict is 2.

        Raises SpecError for a bad port, for families or ranges that do not fit, and at creation for a target
        in no network that is connected here; ExistsError names who holds the port, or where it leads if it
        was detached; StateError where a borrowed namespace does not forward; BackendError where neither
        backend can. Needs CAP_NET_ADMIN; Linux 5.12, CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_INET,
        or CONFIG_IP_NF_NAT, CONFIG_IP_NF_RAW and xt_addrtype. Sources: nft(8) on maps and fib,
        iptables-extensions(8), ip-sysctl.rst on route_localnet and rp_filter.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host, Namespace() as box:
            ...     with Bridge(host, "br0", address="172.18.0.1/24") as bridge:
            ...         veth = bridge.connect(box, name="veth0", peer_address="172.18.0.2/24")
            ...         with host.publish(8080, to="172.18.0.2:80") as web:
            ...             print(web.specs[0], web.counters.packets)
            tcp 8080 -> 172.18.0.2:80 0
        """
        with naming_limits("publish ports"):
            from netkit._nat.publish import PortMapping
            from netkit._nat.publish_targets import parse_mappings
        return PortMapping(
            self._itself(), parse_mappings([(port, to)], proto, host_ip), hairpin=hairpin,
            reserve=reserve, relay=relay, backend=backend, open_forward=open_forward,
        )  # fmt: skip

    def publish_many(
        self,
        ports: Mapping[int, Target] | Iterable[tuple[PortLike, Target]],
        *,
        proto: str | Iterable[str] = "tcp",
        host_ip: AddressLike | None = None,
        hairpin: bool = True,
        reserve: bool = True,
        relay: bool | Literal["helper"] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
        open_forward: bool | None = None,
    ) -> PortMapping:
        """Many ports as one mapping, added and removed in one transaction; otherwise as `publish`.

        Twin: that of `publish`. Raises what that does.

        ``ports`` are ports with their targets: ``{8080: "172.18.0.2:80", 8081: box}``, or pairs. Each
        reserved port is an open file of this process.

        Examples:
            >>> from netkit import Bridge, Namespace, Scope
            >>> with Scope() as lab:
            ...     host = lab.own(Namespace())
            ...     bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/16"))
            ...     many = {10000 + n: f"172.18.1.{n}:80" for n in range(1, 255)}
            ...     with host.publish_many(many, reserve=False) as mapping:
            ...         print(len(mapping.specs), mapping.exists)
            254 True
        """
        with naming_limits("publish ports"):
            from netkit._nat.publish import PortMapping
            from netkit._nat.publish_targets import parse_all

        asked = parse_all(ports, proto, host_ip)
        return PortMapping(
            self._itself(),
            asked,
            hairpin=hairpin,
            reserve=reserve,
            relay=relay,
            backend=backend,
            open_forward=open_forward,
        )
