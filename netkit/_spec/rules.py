"""Policy routing rules."""

from __future__ import annotations

from netkit._spec import numbers
from netkit._spec._family import agreed_family
from netkit._spec.addresses import ip_network
from netkit._spec.names import device, table_name, table_number
from netkit._spec.value import Value, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec.addresses import IPNetwork, NetworkLike
    from netkit._spec.routes import DeviceLike

_set = object.__setattr__

# FR_ACT_* of linux/fib_rules.h. goto and nop are read, not added.
ACTIONS = {"unspec": 0, "lookup": 1, "goto": 2, "nop": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_ADDABLE = ("lookup", "blackhole", "unreachable", "prohibit")
U32 = numbers.U32


class Rule(Value):
    """A policy routing rule, frozen; equal by everything but ``proto``.

    ``Rule(...)`` takes its fields as they are, for what the kernel reported; ``Rule.build(...)``
    checks. ``src`` and ``dst`` are ``ip_network`` or None, ``table`` is a number, ``action`` ip's word
    (``lookup``, ``blackhole`` ...); ``priority`` None lets the kernel choose.

    Twin: one line of ``ip rule show``. Source: ip-rule(8), struct fib_rule_hdr.
    """

    __slots__ = _fields = (
        "src",
        "dst",
        "iif",
        "oif",
        "fwmark",
        "fwmask",
        "priority",
        "table",
        "action",
        "family",
        "invert",
        "proto",
    )
    _compared = _fields[:-1]

    src: IPNetwork | None
    dst: IPNetwork | None
    iif: str | None
    oif: str | None
    fwmark: int | None
    fwmask: int | None
    priority: int | None
    table: int
    action: str
    family: int
    invert: bool
    proto: str

    def __init__(
        self,
        family: int,
        *,
        src: IPNetwork | None = None,
        dst: IPNetwork | None = None,
        iif: str | None = None,
        oif: str | None = None,
        fwmark: int | None = None,
        fwmask: int | None = None,
        priority: int | None = None,
        table: int = 254,
        action: str = "lookup",
        invert: bool = False,
        proto: str = "netkit",
    ) -> None:
        _set(self, "family", family)
        _set(self, "src", src)
        _set(self, "dst", dst)
        _set(self, "iif", iif)
        _set(self, "oif", oif)
        _set(self, "fwmark", fwmark)
        _set(self, "fwmask", fwmask)
        _set(self, "priority", priority)
        _set(self, "table", table)
        _set(self, "action", action)
        _set(self, "invert", invert)
        _set(self, "proto", proto)

    @classmethod
    def build(
        cls,
        *,
        src: NetworkLike | None = None,
        dst: NetworkLike | None = None,
        iif: DeviceLike | None = None,
        oif: DeviceLike | None = None,
        fwmark: int | str | None = None,
        fwmask: int | None = None,
        priority: int | None = None,
        table: int | str = 254,
        action: str = "lookup",
        family: int | None = None,
        invert: bool = False,
    ) -> Rule:
        """Check what a user asks for.

        ``fwmark`` is an int or ip-rule(8)'s ``"0x1"`` and ``"0x1/0xff"``; without a mask all 32 bits
        count. The family is that of ``src`` and ``dst``, else ``family``, else 4. Raises SpecError.

        Examples:
            >>> from netkit._spec.rules import Rule
            >>> str(Rule.build(src="10.0.0.0/8", fwmark="0x1/0xff", table=100, priority=50))
            '50: from 10.0.0.0/8 fwmark 0x1/0xff lookup 100'
        """
        source = None if src is None else _selector(src, "src")
        target = None if dst is None else _selector(dst, "dst")
        mark, mask = _mark(fwmark, fwmask)
        if action not in _ADDABLE:
            raise SpecError(f"action {shown(action)} cannot be added: {', '.join(_ADDABLE)} can")
        return cls(
            agreed_family(family, ("src", source), ("dst", target)),
            src=source if source is None or source.prefixlen else None,
            dst=target if target is None or target.prefixlen else None,
            iif=None if iif is None else device(iif, "iif"),
            oif=None if oif is None else device(oif, "oif"),
            fwmark=mark,
            fwmask=mask,
            priority=None if priority is None else numbers.priority(priority),
            table=table_number(table) if action == "lookup" else 0,
            action=action,
            invert=numbers.boolean(invert, "invert"),
        )

    def __repr__(self) -> str:
        family = " (IPv6)" if self.family == 6 else ""  # of most rules their words do not say it
        return f"<Rule {self}{family}>"

    def __str__(self) -> str:
        words = [] if self.priority is None else [f"{self.priority}:"]
        words += ["not"] if self.invert else []
        words += ["from", "all" if self.src is None else str(self.src)]
        for word, value in (("to", self.dst), ("iif", self.iif), ("oif", self.oif)):
            if value is not None:
                words += [word, str(value)]
        if self.fwmark is not None:
            mask = "" if self.fwmask in (None, U32) else f"/{self.fwmask:#x}"
            words += ["fwmark", f"{self.fwmark:#x}{mask}"]
        if self.action != "unspec":  # of a rule to be deleted, whatever it does
            words += ["lookup", table_name(self.table)] if self.action == "lookup" else [self.action]
        return " ".join(words)


def _selector(value: object, what: str) -> IPNetwork:
    if value == "all" and isinstance(value, str):
        raise SpecError(f"{what} 'all' is the default: leave {what}= out")
    return ip_network(value, what)


def _mark(fwmark: object, fwmask: object) -> tuple[int | None, int | None]:
    if isinstance(fwmark, str):
        mark_text, slash, mask_text = fwmark.partition("/")
        fwmark = _parsed(mark_text, fwmark, "fwmark")
        if slash and fwmask is not None:
            raise SpecError("fwmark='MARK/MASK' with fwmask=: give the mask once")
        fwmask = _parsed(mask_text, fwmask, "fwmask") if slash else fwmask
    if fwmark is None:
        if fwmask is not None:
            raise SpecError("fwmask= without fwmark=: a mask alone selects nothing")
        return None, None
    mark = numbers.integer(fwmark, "fwmark", 0, U32)
    return mark, U32 if fwmask is None else numbers.integer(fwmask, "fwmask", 0, U32)


def _parsed(text: str, whole: object, what: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise SpecError(f"{what} {shown(whole or text)} is no number: write 1, '0x1' or '0x1/0xff'") from None
