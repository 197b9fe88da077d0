"""The lines of a journal: words, and what is still open when all of them are read.

    netkit 1 OWNER PID START PIDNS BOOT who writes
    +NUMBER KIND WORD ...               about to be made
    -NUMBER                             gone

Words are separated by one space; what is no printable ASCII is written as %XX, an empty word as %.
"""

from __future__ import annotations

from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_WORD = "netkit"
_VERSION = "1"


class Entry:
    """One thing that was noted and not struck out."""

    __slots__ = ("kind", "number", "words")

    def __init__(self, number: int, kind: str, words: Sequence[str]) -> None:
        self.number = number
        self.kind = kind
        self.words = (*words,)

    def __repr__(self) -> str:
        return f"Entry({self.number}, {self.kind!r}, {self.words!r})"


class Contents:
    """What a journal says: whose it is, what is open, oldest first, and which lines make no sense."""

    __slots__ = ("boot", "entries", "faults", "owner", "pid", "pid_namespace", "start")

    def __init__(self, header: Sequence[str]) -> None:
        if len(header) != 7 or header[0] != HEADER_WORD:
            raise ProtocolError("this is no journal of netkit: its first line is another")
        if header[1] != _VERSION:
            raise ProtocolError(f"a journal of version {header[1]!r}: this netkit reads {_VERSION}")
        self.owner = header[2]
        self.pid = _number(header[3], "a process id")
        self.start = _number(header[4], "a start time")
        self.pid_namespace = _number(header[5], "a pid namespace")
        self.boot = header[6]
        self.entries: dict[int, Entry] = {}
        self.faults: list[str] = []

    def take(self, text: bytes) -> None:
        """Read a line behind the header."""
        words = split(text)
        mark, digits = words[0][:1], words[0][1:]
        number = _number(digits, "an entry's number")
        if mark == "+" and len(words) > 1:
            self.entries[number] = Entry(number, words[1], words[2:])
        elif mark == "-" and len(words) == 1:
            self.entries.pop(number, None)
        else:
            raise ProtocolError(f"a line of a journal begins with {words[0]!r}")


def line(number: int, kind: str, words: Sequence[str | int]) -> bytes:
    """The line that notes something."""
    return f"+{number} {' '.join([kind, *map(_quoted, words)])}\n".encode()


def read_entry(written: bytes) -> Entry:
    """The inverse of `line`."""
    words = split(written.rstrip(b"\n"))
    return Entry(int(words[0]), words[1], words[2:])


def strike_line(number: int) -> bytes:
    """The line that takes it out."""
    return b"-%d\n" % number


def read(data: bytes) -> Contents | None:
    """What a journal says; None if nothing was written yet. An unfinished last line does not count.

    Raises ProtocolError for what is no journal. Single lines that make no sense are among the faults.
    """
    lines = data.split(b"\n")[:-1]
    if not lines:
        return None
    contents = Contents(split(lines[0]))
    for text in lines[1:]:
        try:
            contents.take(text)
        except ProtocolError as problem:
            contents.faults.append(str(problem))
    return contents


def split(text: bytes) -> list[str]:
    """The words of a line."""
    try:
        return [_plain(word) for word in text.decode("ascii").split(" ")]
    except ValueError as problem:
        raise ProtocolError(f"a line of a journal is not text: {text[:40]!r}") from problem


def _quoted(word: str | int) -> str:
    text = str(word)
    if text.isascii() and text.isprintable() and " " not in text and "%" not in text:
        return text or "%"
    octets = text.encode(errors="surrogateescape")
    return "".join([chr(o) if 32 < o < 127 and o != 37 else f"%{o:02x}" for o in octets])


def _plain(word: str) -> str:
    if "%" not in word:
        return word
    if word == "%":
        return ""
    first, *rest = word.split("%")
    octets = first.encode() + b"".join([_octet(each) for each in rest])
    return octets.decode(errors="surrogateescape")


def _octet(text: str) -> bytes:
    if len(text) < 2 or not set(text[:2]) <= set("0123456789abcdef"):
        raise ValueError(f"%{text[:2]} is no byte")
    return bytes([int(text[:2], 16)]) + text[2:].encode()


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ProtocolError(f"{text[:40]!r} in a journal is not {what}")
    return int(text)
