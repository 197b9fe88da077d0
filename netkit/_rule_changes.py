"""Policy rules that were added through a RouteTable, and how that is undone."""

from __future__ import annotations

from netkit._netlink.rule import add_rule, delete_rule, list_rules, parse_rules
from netkit._runtime import Runtime
from netkit._spec.rules import Rule
from netkit.errors import KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RuleChanges:
    """Rules that were added, each with its number in the journal."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: list[tuple[Rule, int]] = []

    def add(self, runtime: Runtime, rule: Rule) -> Rule:
        """Add a rule and note it; returns it with its priority."""
        rule = _with_priority(runtime, rule)
        made = rule, _note(runtime, rule) if runtime.survives else 0
        self._made.append(made)  # first, or an interrupt could come in between
        try:
            runtime.route.request(add_rule(rule))
        except KernelError:
            self._leave(made)
            raise
        return rule

    def clear(self) -> None:
        """All of them are gone with their namespace, or are to stay."""
        for made in list(self._made):
            self._leave(made)

    def undo(self, runtime: Runtime) -> list[Exception]:
        """Delete them, the last one first; returns what could not be done."""
        errors: list[Exception] = []
        for made in self._made[::-1]:
            try:
                runtime.route.request(delete_rule(made[0], exact=True))
            except NotFoundError:
                pass  # gone already
            except Exception as problem:
                problem.add_note(f"rule '{made[0]}' may still be in {runtime.label}")
                errors.append(problem)
                continue
            self._leave(made)
        return errors

    def _leave(self, made: tuple[Rule, int]) -> None:
        self._made.remove(made)
        if made[1]:
            from netkit._system.journal import strike

            strike(made[1])


def _with_priority(runtime: Runtime, rule: Rule) -> Rule:
    """With the priority that the kernel would choose (fib_default_rule_pref in net/core/fib_rules.c).

    Chosen here, for without it the rule could not be told from others when it is to go.
    """
    if rule.priority is not None:
        return rule
    present = parse_rules(runtime.route.dump(list_rules(rule.family)))
    second = present[1].priority if len(present) > 1 else 0
    fields: dict[str, Any] = {name: getattr(rule, name) for name in Rule._fields}
    fields["priority"] = (second or 1) - 1
    return Rule(**fields)


def _note(runtime: Runtime, rule: Rule) -> int:
    """In the journal: the message that deletes just this rule."""
    from netkit._system.entries import MESSAGES, message_word
    from netkit._system.journal import note

    request = delete_rule(rule, exact=True)
    return note(
        MESSAGES, runtime.place, f"rule '{rule}'", message_word(request.kind, request.flags, request.body)
    )
