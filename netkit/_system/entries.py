"""What the kinds of entries in a journal mean: how each is written, and read again.

Reading raises ProtocolError for whatever netkit does not write.
"""

from __future__ import annotations

from netkit._system.journal_lines import Entry
from netkit._system.places import parse_place
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    OfRules: TypeAlias = "IptablesEntry | ChainsEntry | MarkedEntry"
    Noted: TypeAlias = "LinkEntry | NameEntry | MembersEntry | MessagesEntry | SysctlEntry | OfRules"

LINK, NAME, MEMBERS, MESSAGES, SYSCTL, IPTABLES = "link", "name", "members", "messages", "sysctl", "iptables"
CHAINS, MARKED = "chains", "marked"
# The order of an undoing: rules before routes, routes before links, namespaces last; see _lifecycle/owned.py.
STAGES = {IPTABLES: 0, CHAINS: 0, MARKED: 0, MESSAGES: 1, SYSCTL: 1, LINK: 2, MEMBERS: 3, NAME: 4}


class LinkEntry:
    """A link: what kind, in which group, with which MACs, and where it may be found."""

    __slots__ = ("group", "kind", "macs", "places")

    def __init__(self, entry: Entry) -> None:
        words = _at_least(entry, 6)
        self.kind, self.macs = words[0], tuple(words[2].split(","))
        self.group = number(words[1])
        ends = words[3:]
        if len(ends) % 3:
            raise ProtocolError(f"a link with {len(ends)} words about its ends")
        self.places = [(checked(at), number(index), name) for at, index, name in _by_three(ends)]

    def __str__(self) -> str:
        names = " and ".join([f"'{name}'" for _, _, name in self.places])
        return f"{self.kind} {names}"


class NameEntry:
    """A name in /run/netns: a symlink to ``target``, or a mount."""

    __slots__ = ("at", "name", "target")

    def __init__(self, entry: Entry) -> None:
        at, self.name, self.target = _exactly(entry, 3)
        self.at = checked(at)
        if "/" in self.name or self.name in ("", ".", ".."):
            raise ProtocolError(f"{self.name[:60]!r} is no name of a namespace")

    def __str__(self) -> str:
        return f"namespace '{self.name}'"


class MembersEntry:
    """A namespace of ours in which programs were started."""

    __slots__ = ("at", "label")

    def __init__(self, entry: Entry) -> None:
        at, self.label = _exactly(entry, 2)
        self.at = checked(at)

    def __str__(self) -> str:
        return f"processes in {self.label}"


class MessagesEntry:
    """A change by rtnetlink: the message that takes it back, and those that restore what was before."""

    __slots__ = ("at", "delete", "label", "restore")

    def __init__(self, entry: Entry) -> None:
        at, self.label, delete, *restore = _at_least(entry, 3)
        self.at = checked(at)
        self.delete = message(delete)
        self.restore = [message(each) for each in restore]

    def __str__(self) -> str:
        return self.label


class SysctlEntry:
    """An override; ``record`` says what was before where no file in /run/netkit/sysctl does."""

    __slots__ = ("at", "path", "record")

    def __init__(self, entry: Entry) -> None:
        at, self.path, self.record = _exactly(entry, 3)
        self.at = checked(at)
        if not self.path.startswith("net/") or ".." in self.path.split("/"):
            raise ProtocolError(f"{self.path[:60]!r} is no sysctl of a network namespace")

    def __str__(self) -> str:
        return f"sysctl {self.path.replace('/', '.')}"


class IptablesEntry:
    """A rule of iptables-legacy as it is listed, and how many equal ones there were before."""

    __slots__ = ("at", "before", "family", "rule", "table")

    def __init__(self, entry: Entry) -> None:
        at, family, self.table, self.rule, before = _exactly(entry, 5)
        self.at = checked(at)
        self.family, self.before = number(family), number(before)
        if self.family not in (4, 6) or self.rule[:3] != "-A " or len(self.rule.split(" ")) < 2:
            raise ProtocolError(f"{self.rule[:60]!r} is no rule of iptables")

    def __str__(self) -> str:
        return f"iptables rule '{self.rule}'"


class ChainsEntry:
    """Chains of iptables-legacy whose names end with a suffix of ours, with what leads into them."""

    __slots__ = ("at", "family", "suffix", "table")

    def __init__(self, entry: Entry) -> None:
        at, family, self.table, self.suffix = _exactly(entry, 4)
        self.at = checked(at)
        self.family = number(family)
        if self.family not in (4, 6) or len(self.suffix) != 8 or not self.suffix.isalnum():
            raise ProtocolError(f"{self.suffix[:60]!r} is no suffix of our chains")

    def __str__(self) -> str:
        return f"iptables chains 'NETKIT-*-{self.suffix}'"


class MarkedEntry:
    """Rules with a mark of ours in a chain of nf_tables that is somebody else's."""

    __slots__ = ("at", "chain", "family", "mark", "table")

    def __init__(self, entry: Entry) -> None:
        at, family, self.table, self.chain, self.mark = _exactly(entry, 5)
        self.at = checked(at)
        self.family = number(family)
        if not self.mark.startswith("netkit:") or len(self.mark) != 23:
            raise ProtocolError(f"{self.mark[:60]!r} is no mark of our rules")

    def __str__(self) -> str:
        return f"rule '{self.mark}' in nft chain {self.table} {self.chain}"


def read_entry(entry: Entry) -> Noted:
    """What an entry says."""
    readers: dict[str, Callable[[Entry], Noted]] = {
        LINK: LinkEntry,
        NAME: NameEntry,
        MEMBERS: MembersEntry,
        MESSAGES: MessagesEntry,
        SYSCTL: SysctlEntry,
        IPTABLES: IptablesEntry,
        CHAINS: ChainsEntry,
        MARKED: MarkedEntry,
    }
    reader = readers.get(entry.kind)
    if reader is None:
        raise ProtocolError(f"a journal of this version has no {entry.kind[:40]!r}")
    return reader(entry)


def checked(at: str) -> str:
    """A namespace, as text."""
    parse_place(at)
    return at


def number(text: str) -> int:
    """A number of up to 32 bits."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ProtocolError(f"{text[:40]!r} in a journal is no number")
    return int(text)


def message_word(kind: int, flags: int, body: bytes) -> str:
    """A netlink message as a word."""
    return (kind.to_bytes(2, "big") + flags.to_bytes(2, "big") + body).hex()


def message(word: str) -> tuple[int, int, bytes]:
    """The inverse: type, flags, body."""
    try:
        data = bytes.fromhex(word)
    except ValueError:
        raise ProtocolError(f"{word[:40]!r} in a journal is no message") from None
    if len(data) < 8:
        raise ProtocolError("a message of less than 8 bytes in a journal")
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), data[4:]


def _exactly(entry: Entry, count: int) -> tuple[str, ...]:
    if len(entry.words) != count:
        raise ProtocolError(f"{len(entry.words)} words about a {entry.kind} in a journal")
    return entry.words


def _at_least(entry: Entry, count: int) -> tuple[str, ...]:
    if len(entry.words) < count:
        raise ProtocolError(f"{len(entry.words)} words about a {entry.kind} in a journal")
    return entry.words


def _by_three(words: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(words[n], words[n + 1], words[n + 2]) for n in range(0, len(words), 3)]
