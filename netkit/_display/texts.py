"""Names, aliases and comments are whatever somebody wrote: what is shown of them is harmless."""

from __future__ import annotations

import unicodedata

# Control characters would drive a terminal, and XML has no place for them; format characters (Cf: bidi
# overrides and the like) make a text look like another one; surrogates cannot be encoded.
_UNSHOWN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def printable(text: str) -> str:
    """The text in one line, with escapes in place of what is not seen."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([_escaped(each) if unicodedata.category(each) in _UNSHOWN else each for each in text])


def _escaped(character: str) -> str:
    number = ord(character)
    return (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
    )


def cells(text: str) -> int:
    """The columns it takes in a monospaced font."""
    if text.isascii():
        return len(text)
    return sum([0 if unicodedata.combining(each) else 2 if _is_wide(each) else 1 for each in text])


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def shortened(text: str, width: int) -> str:
    """At most this many columns, the end cut off."""
    if cells(text) <= width:
        return text
    kept = text
    while cells(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"


def shortened_inside(text: str, width: int) -> str:
    """At most this many columns, cut in the middle: of a rule, the end says what it does."""
    if cells(text) <= width:
        return text
    kept = width - 1
    start, end = shortened(text, kept // 2 + 1)[:-1], text
    while cells(end) > kept - cells(start):
        end = end[1:]
    return f"{start}…{end}"


def padded(text: str, width: int) -> str:
    """With spaces up to this many columns."""
    return text + " " * (width - cells(text))
