"""The matches of iptables beyond ports, as bytes and back: networks to leave out, shares of packets."""

from __future__ import annotations

from ipaddress import ip_address

from netkit._nat import iptables_layout as layout
from netkit._nat.iptables_rules import probability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule


def extension(name: str, revision: int, data: bytes) -> bytes:
    """A match or a target: its length, name and revision, and its data up to a multiple of 8 bytes."""
    size = (layout.EXTENSION.size + len(data) + 7) & ~7
    return (layout.EXTENSION.pack(size, name.encode(), revision) + data).ljust(size, b"\0")


def encoded_matches(rule: Rule) -> bytes:
    """In the order in which `match_words` has them."""
    found = [_outside(ends, True) for ends in _split(rule.get("src_outside", ""))]
    found += [_outside(ends, False) for ends in _split(rule.get("dst_outside", ""))]
    if "socket" in rule:
        found.append(extension("socket", 3, layout.SOCKET.pack(layout.SOCKET_TRANSPARENT)))
    if share := rule.get("share", ""):
        found.append(_share(share))
    return b"".join(found)


def comment_match(rule: Rule) -> bytes:
    """``-m comment --comment TEXT``: iptables has it last."""
    text = rule.get("comment", "")
    return extension("comment", 0, text.encode().ljust(layout.COMMENT_SIZE, b"\0")) if text else b""


def read_match(name: str, revision: int, data: bytes, rule: Rule) -> None:
    """Add what a match says to the rule; ValueError for another kind of match."""
    if (name, revision) == ("iprange", 1):
        _read_outside(data, rule)
    elif (name, revision) == ("statistic", 0):
        _read_share(data, rule)
    elif (name, revision) == ("socket", 3):
        rule["socket"] = "transparent"  # another of its flags is no rule that netkit could have made
    elif (name, revision) == ("comment", 0):
        rule["comment"] = data.split(b"\0", 1)[0].decode()
    else:
        raise ValueError(f"a match {name!r} of revision {revision}")


def _split(text: str) -> list[str]:
    return text.split(",") if text else []


def _outside(ends: str, is_source: bool) -> bytes:
    low, high = [ip_address(end).packed for end in ends.split("-")]
    if is_source:
        flags = layout.IPRANGE_SRC | layout.IPRANGE_SRC_INVERT
        return extension("iprange", 1, layout.IPRANGE.pack(low, high, b"", b"", flags))
    flags = layout.IPRANGE_DST | layout.IPRANGE_DST_INVERT
    return extension("iprange", 1, layout.IPRANGE.pack(b"", b"", low, high, flags))


def _read_outside(data: bytes, rule: Rule) -> None:
    *ends, flags = layout.IPRANGE.unpack_from(data)
    is_source = bool(flags & layout.IPRANGE_SRC)
    size = 4 if rule["family"] == 4 else 16
    low, high = [str(ip_address(end[:size])) for end in (ends[:2] if is_source else ends[2:])]
    text = f"{low}-{high}"
    if is_source:
        rule["src_outside"] = ",".join([*_split(rule.get("src_outside", "")), text])
    else:
        rule["dst_outside"] = ",".join([*_split(rule.get("dst_outside", "")), text])


def _share(share: str) -> bytes:
    mode, modulus, *rest = share.split(" ")
    if mode == "nth":
        every, packet = int(modulus) - 1, int(rest[0])
        fields = layout.STATISTIC_NTH, 0, every, packet, every - packet  # where the kernel begins to count
    else:
        fields = layout.STATISTIC_RANDOM, 0, probability(int(modulus)), 0, 0
    return extension("statistic", 0, layout.STATISTIC.pack(*fields, 0))


def _read_share(data: bytes, rule: Rule) -> None:
    mode, _, first, packet, *_ = layout.STATISTIC.unpack_from(data)
    if mode == layout.STATISTIC_NTH:
        rule["share"] = f"nth {first + 1} {packet}"
    elif first:
        rule["share"] = f"random {round(0x80000000 / first)}"
