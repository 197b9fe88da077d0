"""Published UDP ports whose number is changed in the namespace, where the program could not do it.

See `loses_answers`: such a pasta forwards the port under its own number, and a rule inside redirects it.
"""

from __future__ import annotations

from netkit._nat.rule import NatRule
from netkit._spec.publish import PublishedPort
from netkit._system.outside_programs import ADDRESS6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._namespace import Namespace


def unchanged(published: Iterable[PublishedPort], lost: Sequence[PublishedPort]) -> tuple[PublishedPort, ...]:
    """The same ports, but those that would be lost lead to their own number."""
    return tuple(
        PublishedPort(each.proto, each.host_ip, each.host_port, each.host_port) if each in lost else each
        for each in published
    )


def redirects(netns: Namespace, lost: Iterable[PublishedPort], address: str) -> list[NatRule]:
    """The rules that lead them on, where they come by the loopback and where by the device."""
    rules: list[NatRule] = []
    for each in lost:
        loopback, own = ("::1", ADDRESS6) if each.host_ip.version == 6 else ("127.0.0.1", address)
        for daddr in (loopback, own):
            rules.append(
                NatRule.redirect(
                    netns,
                    proto="udp",
                    daddr=daddr,
                    dport=each.host_port,
                    to=each.port,
                    local=daddr == loopback,
                )
            )
    return rules
