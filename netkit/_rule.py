"""The policy routing rules of a namespace."""

from __future__ import annotations

from collections.abc import Iterator

from netkit._additions import Additions
from netkit._link import require_device
from netkit._netlink.rule import add_rule, delete_rule, dump_rules, parse_rule
from netkit._shown import Shown
from netkit._spec._family import checked_family
from netkit._spec.rules import Rule
from netkit._spec.value import shown
from netkit._system.signals import held_signals
from netkit.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._runtime import Runtime
    from netkit._spec.addresses import NetworkLike
    from netkit._spec.routes import DeviceLike


class Rules(Additions, Shown):
    """The rules that choose a routing table, IPv4 and IPv6: iterate, `add`, `delete`.

    In ``with ns.rules as rules:``, or owned by a Scope, it is a scope: what was added through it is deleted
    at the end. Otherwise what is added stays.

    Twin: ``ip rule``. Source: ip-rule(8). Changing needs CAP_NET_ADMIN and CONFIG_IP_MULTIPLE_TABLES.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box, box.rules as rules:
        ...     print(rules.add(src="10.0.0.0/8", fwmark="0x1/0xff", table=100, priority=50))
        50: from 10.0.0.0/8 fwmark 0x1/0xff lookup 100
    """

    def __init__(self, netns: Namespace) -> None:
        self._netns = netns

    def _place(self) -> Runtime:
        return self._netns._live_runtime()

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._read((4, 6)))

    def __len__(self) -> int:
        return len(self._read((4, 6)))

    def filter(self, *, family: Literal[4, 6] | None = None) -> list[Rule]:
        """All rules, of one family or both, from a fresh read. Twin: ``ip [-6] rule show``.

        Raises SpecError for another family, ProtocolError for a malformed answer.
        """
        chosen = checked_family(family)
        return self._read((4, 6) if chosen is None else (chosen,))

    def _read(self, versions: tuple[int, ...]) -> list[Rule]:
        route = self._netns._live_runtime().route
        return [parse_rule(reply) for version in versions for reply in dump_rules(route, version)]

    def add(
        self,
        *,
        src: NetworkLike | None = None,
        dst: NetworkLike | None = None,
        iif: DeviceLike | None = None,
        oif: DeviceLike | None = None,
        fwmark: int | str | None = None,
        fwmask: int | None = None,
        priority: int | None = None,
        table: int | str = "main",
        family: Literal[4, 6] | None = None,
        action: str = "lookup",
        invert: bool = False,
    ) -> Rule:
        """Add a rule; returns it with the priority it got.

        ``src`` and ``dst`` are networks, ``iif`` and ``oif`` devices, ``fwmark`` a number or
        ``"0x1/0xff"``; ``action`` is ``lookup``, ``blackhole``, ``unreachable`` or ``prohibit``, ``invert``
        is ``not``. Twin: ``ip rule add from SRC lookup TABLE``. Raises SpecError for a bad value,
        ExistsError for an equal one.
        """
        require_device(iif, self._netns, "iif")
        require_device(oif, self._netns, "oif")
        rule = Rule.build(
            src=src, dst=dst, iif=iif, oif=oif, fwmark=fwmark, fwmask=fwmask, priority=priority,
            table=table, family=family, action=action, invert=invert,
        )  # fmt: skip
        before = self._read((rule.family,)) if priority is None else []
        self._add(rule, add_rule(rule), delete_rule(rule, exact=True))
        if priority is not None:
            return rule
        known = {each.priority for each in before}
        for each in self._read((rule.family,)):
            if each.priority not in known and each.table == rule.table:
                return each
        raise NotFoundError(f"read back rule '{rule}'", 2)

    def delete(
        self,
        rule: Rule | None = None,
        *,
        src: NetworkLike | None = None,
        dst: NetworkLike | None = None,
        iif: DeviceLike | None = None,
        oif: DeviceLike | None = None,
        fwmark: int | str | None = None,
        fwmask: int | None = None,
        priority: int | None = None,
        table: int | str | None = None,
        family: Literal[4, 6] | None = None,
        action: str | None = None,
        invert: bool = False,
    ) -> None:
        """Delete the first rule that has all that is given, or a Rule. Twin: ``ip rule del``.

        Raises NotFoundError when there is none such, SpecError when nothing is given.
        """
        given = (src, dst, iif, oif, fwmark, fwmask, priority, table, action)
        if rule is not None:
            if invert or family is not None or any(value is not None for value in given):
                raise SpecError("a Rule has everything already: leave out the other keywords")
            if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise SpecError(f"delete() takes a Rule, or keywords such as src=, not {shown(rule)}")
            request = delete_rule(rule)
        else:
            if all(value is None for value in given):
                raise SpecError("delete() without a Rule needs at least one of src=, dst=, priority=, table=")
            require_device(iif, self._netns, "iif")
            require_device(oif, self._netns, "oif")
            rule = Rule.build(
                src=src, dst=dst, iif=iif, oif=oif, fwmark=fwmark, fwmask=fwmask, priority=priority,
                table="main" if table is None else table, family=family,
                action="lookup" if action is None else action, invert=invert,
            )  # fmt: skip
            request = delete_rule(rule if table is not None or action is not None else _of_any_table(rule))
        with held_signals():
            self._netns._live_runtime().route.request(request)
            self._forget(rule)

    def __repr__(self) -> str:
        return f"<Rules of {self._netns._called()}>"


def _of_any_table(rule: Rule) -> Rule:
    """The same without what was not given: the kernel takes 0 for anything (fib_nl_delrule)."""
    fields = {name: getattr(rule, name) for name in Rule._fields}
    fields["table"], fields["action"] = 0, "unspec"
    return Rule(**fields)
