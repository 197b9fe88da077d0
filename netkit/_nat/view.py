"""``ns.nat``: the NAT rules that a namespace has, whether ours are all there, and what puts them back."""

from __future__ import annotations

from netkit._lifecycle import Teardown
from netkit._nat.reading import entries, own_rules
from netkit._shown import Shown
from netkit._spec.nat_entry import NatEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from netkit._namespace import Namespace
    from netkit._nat.reading import Own
    from netkit._nat.watch import NatWatch


class NatRules(Shown):
    """The NAT rules of a namespace, whoever made them, as ``ns.nat``; iterating reads them anew.

    Those of nf_tables, iptables-nft's among them, and of the legacy tables of IPv4 and IPv6 (by
    python-iptables, and only if somebody has used those tables here; to look makes none). Each is a frozen
    `NatEntry` that says whose it is. Those of others are never touched.

    ``verify`` tells which of this process's rules somebody has removed, and ``ensure`` puts them back. Rules
    in a table of netkit's own survive ``nft flush ruleset``; what can be lost are rules that were detached,
    those of the iptables backend, and accepts in chains of others (``open_forward=True``).

    Twin: ``nft list ruleset``, ``iptables-legacy -t nat -S``, ``ip6tables-legacy -t nat -S``. Source: nft(8),
    iptables(8). Needs CAP_NET_ADMIN over the namespace.

    Examples:
        >>> from netkit import Namespace, NatRule
        >>> with Namespace() as host:
        ...     _ = host.run(["nft", "-f", "-"], check=True, input=b'''table ip other {
        ...         chain post { type nat hook postrouting priority 100; oifname "eth1" masquerade; }; }''')
        ...     with NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0"):
        ...         for entry in host.nat:
        ...             print(entry.rule, entry.ours)
        ...     print(host.nat.verify())
        oifname "eth1" masquerade False
        ip saddr 172.18.0.0/24 oifname "eth0" masquerade True
        ()
    """

    def __init__(self, ns: Namespace) -> None:
        self._netns = ns

    def __iter__(self) -> Iterator[NatEntry]:
        runtime = self._netns._live_runtime()
        return iter([*entries(runtime, own_rules().get(runtime, []))])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def verify(self) -> tuple[Own, ...]:
        """What this process has made here, and is not there any more: rules and published ports.

        Of what was detached, that for which this process still has the object. Twin: comparing ``nft list
        ruleset`` with what was added. Raises KernelError where the rule set cannot be read.

        Examples:
            >>> from netkit import Namespace, NatRule
            >>> with Namespace() as host:
            ...     rule = NatRule.masquerade(host, oif="eth0").create().detach()
            ...     _ = host.run(["nft", "flush", "ruleset"], check=True)
            ...     print(host.nat.verify() == (rule,), host.nat.ensure() == (rule,), rule.exists)
            True True True
        """
        return tuple([each for each in self._own() if not each._leaving and not each.exists])

    def ensure(self) -> tuple[Own, ...]:
        """Put back what `verify` finds missing; returns it. Nothing else is touched; counters begin anew.

        Twin: adding the rules again. Raises KernelError for what the kernel refuses, and then the rest is
        not tried.
        """
        return tuple([each for each in self._own() if _put_back(each)])

    def watch(self, interval: float = 1.0) -> NatWatch:
        """For ``with``: a thread that does `ensure` whenever the rule set has changed, until the block ends.

        nf_tables tells of each change (``nft monitor``), the legacy tables of none: where rules of ours stand
        there, they are looked at every ``interval`` seconds, too. ``.restored`` counts what was put back.

        Twin: ``nft monitor``, and a script. Raises SpecError for an interval that is not 0.001 to 1000000
        seconds; what `ensure` raises ends the watching, and is raised by ``.wait()``, or at the end of the
        block.

        Examples:
            >>> from netkit import Namespace, NatRule, wait_for
            >>> with Namespace() as host:
            ...     rule = NatRule.masquerade(host, oif="eth0").create().detach()
            ...     with host.nat.watch() as watch:
            ...         _ = host.run(["nft", "flush", "ruleset"], check=True)
            ...         watch.wait(1)
            ...     print(rule.exists, watch.restored)
            True 1
        """
        from netkit._nat.watch import NatWatch

        return NatWatch(self, interval)

    def _own(self) -> list[Own]:
        runtime = self._netns._live_runtime()
        found = own_rules().get(runtime, [])
        from netkit._nat.backend_rule import detached

        left = [each for each in detached if each._state == "borrowed" and runtime in each._runtimes()]
        return [*found, *left]  # type: ignore[list-item]

    def __repr__(self) -> str:
        return f"<NatRules of {self._netns._called()}>"


def _put_back(each: Own) -> bool:
    """Whether it was missing. Another thread may be removing it: then what we have added goes as well."""
    with each._guard:
        if _is_leaving(each) or each.exists or each._state not in ("owned", "borrowed"):
            return False
        each._restore()
        if _is_leaving(each):
            each._remove(Teardown())
            return False
        return True


def _is_leaving(each: Own) -> bool:
    return each._leaving  # set by any thread at any time
