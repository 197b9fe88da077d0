"""MAC addresses as users write them."""

from __future__ import annotations

from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

_HEX = frozenset("0123456789abcdef")


def mac(value: object, what: str = "mac", unicast: bool = True) -> str:
    """A MAC address in lower case with colons, from that, ``-`` separators, or 12 hex digits."""
    if not isinstance(value, str):
        hint = (
            "; put it in quotes, for YAML takes 10:20:30:40:50:59 for a number" if type(value) is int else ""
        )
        raise SpecError(f"{what} {shown(value)} is {type_of(value)}: a MAC address is a str{hint}")
    digits = value.lower()
    for separator in ":-":
        if separator in digits:
            parts = digits.split(separator)
            digits = "".join(parts) if len(parts) == 6 and all(len(part) == 2 for part in parts) else ""
    if len(digits) != 12 or not _HEX.issuperset(digits):
        raise SpecError(f"{what} {shown(value)} is no MAC address: write it as '02:00:00:00:00:01'")
    text = ":".join([digits[index : index + 2] for index in range(0, 12, 2)])
    if unicast and int(digits[:2], 16) & 1:
        mended = f"{int(digits[:2], 16) & 0xFE:02x}{text[2:]}"
        raise SpecError(f"{what} {value!r} is multicast: no device can have it; {mended!r} is unicast")
    if unicast and not int(digits, 16):
        raise SpecError(f"{what} {value!r} is all zero: no device can have it; '02:00:00:00:00:01' would do")
    return text
