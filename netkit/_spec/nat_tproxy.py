"""What a rule for a transparent proxy says: packets go to a socket of this machine as they are."""

from __future__ import annotations

from netkit._spec._nat_target import FIRST_ADDRESS, parse_ports, parse_target
from netkit._spec.nat import NatSpec
from netkit._spec.numbers import integer
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec._nat_match import AddressMatch, NatPort
    from netkit._spec._nat_target import NatTarget, Target
    from netkit._spec.routes import DeviceLike

MARK = 0x1000000  # one bit, that neither Docker, Kubernetes, Cilium nor Tailscale use by default


def tproxy(
    *,
    to: NatTarget | NatPort | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    iif: DeviceLike | None = None,
    proto: str = "tcp",
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    mark: int = MARK,
    family: int | None = None,
) -> NatSpec:
    """Packets go to the socket at ``to``: a port, or an address of this machine with one.

    Examples:
        >>> from netkit._spec.nat_tproxy import tproxy
        >>> str(tproxy(dport=80, to=3128))
        'tcp dport 80 tproxy to :3128 meta mark set meta mark or 0x1000000'
    """
    if proto not in ("tcp", "udp"):
        raise SpecError(f"proto {shown(proto)} with tproxy: it gives packets to sockets of 'tcp' or 'udp'")
    return NatSpec(
        "tproxy",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        proto=proto,
        target=_target(to),
        family=family,
        mark=integer(mark, "mark", 1, 2**32 - 1),
    )


def _target(to: object) -> Target:
    plain = to[1:] if isinstance(to, str) and to.startswith(":") and not to.startswith("::") else to
    is_port = isinstance(plain, int) and plain < FIRST_ADDRESS
    if is_port or (isinstance(plain, str) and "." not in plain and ":" not in plain):
        low, high, ports = None, None, parse_ports(plain, "tproxy")
    elif to is None:
        raise SpecError("tproxy without a target: give the port of the proxy, to=PORT, or to='ADDRESS:PORT'")
    else:
        low, high, ports = parse_target(to, "tproxy")
    if high is not None or (ports is not None and ports[0] != ports[1]):
        raise SpecError(f"to {shown(to)} is several: a transparent proxy has one address and one port")
    return low, None, ports
