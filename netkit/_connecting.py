"""What joins a namespace with others: `connect` and `connect_outside`."""

from __future__ import annotations

from netkit._publishing import Publishing
from netkit._veth import VethPair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._outside import Outside
    from netkit._spec.addresses import AddressLike, InterfaceLike
    from netkit._spec.publish import Publish
    from netkit._veth import Addresses


class Connecting(Publishing):
    """The part of a Namespace that joins it with another one, or with the outside."""

    def connect(
        self,
        other: Namespace,
        *,
        name: str,
        peer_name: str,
        address: Addresses | None = None,
        peer_address: Addresses | None = None,
        mtu: int | None = None,
        peer_mtu: int | None = None,
        mac: str | None = None,
        peer_mac: str | None = None,
        txqlen: int | None = None,
        peer_txqlen: int | None = None,
        queues: int = 1,
        up: bool = True,
    ) -> VethPair:
        """Join this namespace with another one by a veth, created and undone with this namespace.

        The same as a VethPair, which see for parameters and source. `Scope.own` moves it to a scope. Twin:
        ``ip link add NAME netns NS type veth peer name PEER netns OTHER``. Raises what VethPair does.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as red, Namespace() as blue:
            ...     veth = red.connect(blue, name="a", peer_name="b", address="10.0.0.1/24")
            ...     print(veth.link.name, "10.0.0.1/24" in veth.link.addresses)
            a True
        """
        here = self._itself()
        pair = VethPair(
            here, other, name=name, peer_name=peer_name, address=address, peer_address=peer_address,
            mtu=mtu, peer_mtu=peer_mtu, mac=mac, peer_mac=peer_mac, txqlen=txqlen,
            peer_txqlen=peer_txqlen, queues=queues, up=up,
        )  # fmt: skip
        pair._group = here._group
        if here._state == "owned":  # a borrowed namespace is never undone: the pair is, at exit
            here._hold(pair)
        pair.create()
        return pair

    def connect_outside(
        self,
        *,
        publish: Publish = (),
        host_ip: AddressLike = "127.0.0.1",
        name: str = "tap0",
        address: InterfaceLike = "10.0.2.100/24",
        ipv6: bool | None = None,
        mtu: int = 65520,
        dns: bool = True,
        default_route: bool = True,
        host_loopback: bool = False,
        backend: Literal["pasta", "slirp4netns"] | None = None,
    ) -> Outside:
        """Give it a way to the machine's outside network, without root too: by pasta or slirp4netns.

        The same as an Outside, which see; created and undone with this namespace. `Scope.own` moves it to
        a scope. Twin: ``pasta --netns PATH`` or ``slirp4netns PID tap0``. Raises BackendError without
        either program.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     outside = box.connect_outside(publish=["80", "53/udp"])
            ...     print([each.port for each in outside.published])
            [80, 53]
        """
        from netkit._outside import Outside

        here = self._itself()
        outside = Outside(
            here, publish=publish, host_ip=host_ip, name=name, address=address, ipv6=ipv6, mtu=mtu, dns=dns,
            default_route=default_route, host_loopback=host_loopback, backend=backend,
        )  # fmt: skip
        if here._state == "owned":  # as in connect()
            here._hold(outside)
        return outside.create()
