"""A rule of nf_tables in nft's words, as far as netkit knows its expressions; others by their names.

What netkit itself compiles comes back as nft prints it; of other people's rules the usual matches do.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from sys import byteorder

from netkit._nat.iptables_decode import extension_words
from netkit._netlink.nft import NFPROTO_IPV6
from netkit._netlink.nft_policy import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from netkit._netlink.nft import Rule

    Values = dict[str, object]

_NAMES = {6: "iifname", 7: "oifname", 26: "meta iifkind", 27: "meta oifkind"}
_META = {3: "meta mark", 4: "iif", 5: "oif", 15: "meta nfproto", 16: "meta l4proto", **_NAMES}
_PROTOCOLS = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    58: "ipv6-icmp",
    132: "sctp",
    136: "udplite",
}
_FAMILIES = {2: "ipv4", 10: "ipv6"}
_OPERATORS = {0: "", 1: "!= ", 2: "< ", 3: "<= ", 4: "> ", 5: ">= "}
_ADDRESSES = {(1, 12): "ip saddr", (1, 16): "ip daddr", (1, 8): "ip6 saddr", (1, 24): "ip6 daddr"}
_PORTS = {(2, 0): "sport", (2, 2): "dport"}
_SOCKET = {0: "transparent", 1: "mark", 2: "wildcard", 3: "cgroupv2"}
_CT = {0: "ct state", 2: "ct status", 3: "ct mark"}
_STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
_STATUS = {16: "snat", 32: "dnat"}
_RANGE_FLAGS = {4: "random", 16: "fully-random", 8: "persistent"}
_VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto", -5: "return"}


class _Reader:
    """Goes through the expressions of a rule, and remembers what is in which register."""

    def __init__(self, family: int) -> None:
        self.version = 6 if family == NFPROTO_IPV6 else 4
        self.words: list[str] = []
        self.loaded: dict[int, str] = {}
        self.values: dict[int, bytes] = {}
        self.masks: dict[int, bytes] = {}
        self.protocol = "th"

    def read(self, name: str, values: Values) -> None:
        method: Callable[[Values], None] | None = getattr(self, f"_{name}", None)
        if method is None:
            self.words.append(f"[{name}]")
        else:
            method(values)

    # -- what loads a register ------------------------------------------------------

    def _load(self, register: object, words: str) -> None:
        assert isinstance(register, int)
        self.loaded[register] = words
        self.masks.pop(register, None)

    def _meta(self, values: Values) -> None:
        key = values.get("NFTA_META_KEY")
        words = _META.get(key, f"meta {key}") if isinstance(key, int) else "meta"
        if "NFTA_META_SREG" in values:
            loaded = self.loaded.get(_number(values, "NFTA_META_SREG"), "")
            self.words.append(f"{words} set{f' {loaded}' if loaded else ''}")
        else:
            self._load(values.get("NFTA_META_DREG"), words)

    def _ct(self, values: Values) -> None:
        key = values.get("NFTA_CT_KEY")
        self._load(values.get("NFTA_CT_DREG", 0), _CT.get(key, f"ct {key}") if isinstance(key, int) else "ct")

    def _payload(self, values: Values) -> None:
        base, offset = values.get("NFTA_PAYLOAD_BASE"), values.get("NFTA_PAYLOAD_OFFSET")
        where = (base, offset) if isinstance(base, int) and isinstance(offset, int) else (0, 0)
        length = values.get("NFTA_PAYLOAD_LEN")
        if where in _PORTS:
            words = f"{self.protocol} {_PORTS[where]}" + (" . dport" if length == 4 else "")
        else:
            words = _ADDRESSES.get(where, f"@{base},{offset},{length}")
        self._load(values.get("NFTA_PAYLOAD_DREG", 0), words)

    def _socket(self, values: Values) -> None:
        key = _number(values, "NFTA_SOCKET_KEY")
        self._load(values.get("NFTA_SOCKET_DREG", 0), f"socket {_SOCKET.get(key, key)}")

    def _fib(self, values: Values) -> None:
        flags, result = values.get("NFTA_FIB_FLAGS"), values.get("NFTA_FIB_RESULT")
        address = "daddr" if isinstance(flags, int) and flags & 2 else "saddr"
        kind = {1: "oif", 2: "oifname", 3: "type"}.get(result if isinstance(result, int) else 0, "?")
        self._load(values.get("NFTA_FIB_DREG", 0), f"fib {address} {kind}")

    def _numgen(self, values: Values) -> None:
        kind = "random" if values.get("NFTA_NG_TYPE") else "inc"
        self._load(values.get("NFTA_NG_DREG", 0), f"numgen {kind} mod {values.get('NFTA_NG_MODULUS')}")

    def _hash(self, values: Values) -> None:
        source = self.loaded.get(_number(values, "NFTA_HASH_SREG"), "")
        words = f"jhash {source} mod {values.get('NFTA_HASH_MODULUS')}"
        self._load(values.get("NFTA_HASH_DREG", 0), words)

    def _bitwise(self, values: Values) -> None:
        mask, flipped = [
            within(values.get(f"NFTA_BITWISE_{name}"), "NFTA_DATA_VALUE") for name in ("MASK", "XOR")
        ]
        register = _number(values, "NFTA_BITWISE_DREG")
        if isinstance(mask, bytes) and isinstance(flipped, bytes) and any(flipped):
            bits = int.from_bytes(flipped, byteorder)
            if int.from_bytes(mask, byteorder) == bits ^ ((1 << 8 * len(mask)) - 1):
                self._load(register, f"{self.loaded.get(register, '?')} or {bits:#x}")
                return
        if isinstance(mask, bytes):
            self.masks[register] = mask

    def _immediate(self, values: Values) -> None:
        register, data = _number(values, "NFTA_IMMEDIATE_DREG"), values.get("NFTA_IMMEDIATE_DATA")
        value, verdict = within(data, "NFTA_DATA_VALUE"), within(data, "NFTA_DATA_VERDICT")
        if isinstance(value, bytes):
            self.values[register] = value
        else:
            code = within(verdict, "NFTA_VERDICT_CODE")
            signed = code - (1 << 32) if isinstance(code, int) and code >> 31 else code
            word = _VERDICTS.get(signed, str(signed)) if isinstance(signed, int) else "?"
            chain = within(verdict, "NFTA_VERDICT_CHAIN")
            self.words.append(f"{word} {chain}" if chain else word)

    # -- what compares ----------------------------------------------------------------

    def _cmp(self, values: Values) -> None:
        register = _number(values, "NFTA_CMP_SREG")
        data = within(values.get("NFTA_CMP_DATA"), "NFTA_DATA_VALUE")
        operator = _number(values, "NFTA_CMP_OP")
        assert isinstance(data, bytes)
        loaded = self.loaded.get(register, "?")
        mask = self.masks.get(register)
        if loaded == "meta l4proto" and operator == 0:
            self.protocol = _PROTOCOLS.get(data[0], "th")
        if operator == 3 and self.words and self.words[-1].startswith(f"{loaded} >= "):
            self.words[-1] = self.words[-1].replace(">= ", "", 1) + f"-{_shown(loaded, data, None)}"
            return
        if loaded.endswith("sport . dport"):
            ports = [str(int.from_bytes(each, "big")) for each in (data[:2], data[2:])]
            self.words.append(f"{self.protocol} sport {ports[0]} {self.protocol} dport {ports[1]}")
            return
        self.words.append(f"{loaded} {_compared(loaded, operator, data, mask)}")

    def _range(self, values: Values) -> None:
        loaded = self.loaded.get(_number(values, "NFTA_RANGE_SREG"), "?")
        ends = [within(values.get(f"NFTA_RANGE_{end}_DATA"), "NFTA_DATA_VALUE") for end in ("FROM", "TO")]
        shown = "-".join([_shown(loaded, end, None) for end in ends if isinstance(end, bytes)])
        self.words.append(f"{loaded} {_OPERATORS[_number(values, 'NFTA_RANGE_OP')]}{shown}")

    def _lookup(self, values: Values) -> None:
        register, name = _number(values, "NFTA_LOOKUP_SREG"), values.get("NFTA_LOOKUP_SET")
        negated = "!= " if _number(values, "NFTA_LOOKUP_FLAGS") & 1 else ""
        words = f"{self.loaded.get(register, '?')} {negated}"
        if "NFTA_LOOKUP_DREG" in values:
            target = _number(values, "NFTA_LOOKUP_DREG")
            self.loaded[target] = f"{words}map @{name}"
            self.values.pop(target, None)
        else:
            self.words.append(f"{words}@{name}")

    def _match(self, values: Values) -> None:
        self.words.append(f"xt match {self._xt(values, 'MATCH')}")

    # -- what acts --------------------------------------------------------------------

    def _counter(self, values: Values) -> None:
        """How often is not what a rule says."""

    def _target(self, values: Values) -> None:
        self.words.append(f"xt target {self._xt(values, 'TARGET')}")

    def _nat(self, values: Values) -> None:
        kind = "dnat" if _number(values, "NFTA_NAT_TYPE") else "snat"
        flags = _number(values, "NFTA_NAT_FLAGS")
        prefix = " prefix" if flags & 64 else ""
        address = self._ends(values, "NFTA_NAT_REG_ADDR", bool(prefix))
        ports = self._ends(values, "NFTA_NAT_REG_PROTO", False)
        if ":" in address and ports and "map" not in address:
            address = "-".join([f"[{end}]" for end in address.split("-")])
        target = address if "map @" in address else f"{address}{f':{ports}' if ports else ''}"
        self.words.append(f"{kind}{prefix} to {target}{_flag_words(flags)}")

    def _tproxy(self, values: Values) -> None:
        packed, port = [
            self.values.get(_number(values, f"NFTA_TPROXY_REG_{name}")) for name in ("ADDR", "PORT")
        ]
        address = "" if packed is None else str(ip_address(packed))
        if port is not None:
            address = f"[{address}]" if ":" in address else address
            address += f":{int.from_bytes(port[:2], 'big')}"
        self.words.append(f"tproxy to {address}")

    def _masq(self, values: Values) -> None:
        self._act("masquerade", values, "NFTA_MASQ")

    def _redir(self, values: Values) -> None:
        self._act("redirect", values, "NFTA_REDIR")

    def _act(self, word: str, values: Values, name: str) -> None:
        ports = self._ends(values, f"{name}_REG_PROTO", False)
        self.words.append(
            f"{word}{f' to :{ports}' if ports else ''}{_flag_words(_number(values, f'{name}_FLAGS'))}"
        )

    def _ends(self, values: Values, name: str, is_prefix: bool) -> str:
        if f"{name}_MIN" not in values:
            return ""
        low, high = _number(values, f"{name}_MIN"), values.get(f"{name}_MAX")
        if low not in self.values:
            return self.loaded.get(low, "?")
        first, last = self.values[low], self.values.get(high) if isinstance(high, int) else None
        if "PROTO" in name:
            shown = [str(int.from_bytes(end[:2], "big")) for end in (first, last) if end is not None]
        elif is_prefix and last is not None:
            changing = (int.from_bytes(first, "big") ^ int.from_bytes(last, "big")).bit_length()
            return f"{ip_address(first)}/{8 * len(first) - changing}"
        else:
            shown = [str(ip_address(end)) for end in (first, last) if end is not None]
        return "-".join(dict.fromkeys(shown))

    def _xt(self, values: Values, kind: str) -> str:
        name, info = values.get(f"NFTA_{kind}_NAME"), values.get(f"NFTA_{kind}_INFO")
        revision = _number(values, f"NFTA_{kind}_REV")
        if not isinstance(name, str) or not isinstance(info, bytes):
            return "?"
        return extension_words(self.version, name, revision, info, is_target=kind == "TARGET")


def rule_words(rule: Rule) -> str:
    """The rule in nft's words, without its counter and comment. It never raises: what is odd is named."""
    reader = _Reader(rule.family)
    for name, values in rule.parsed():
        try:
            reader.read(name, values)
        except (AssertionError, ValueError, KeyError, IndexError, struct.error):
            reader.words.append(f"[{name}]")
    return " ".join(_without_repeats(reader.words))


def _without_repeats(words: list[str]) -> list[str]:
    """`tcp dport 80` says that it is TCP, `ip saddr` that it is IPv4."""
    said = " ".join(words)
    shown: list[str] = []
    for word in words:
        proto = word.removeprefix("meta l4proto ")
        family = word.removeprefix("meta nfproto ")
        if proto != word and (f" {proto} sport" in said or f" {proto} dport" in said):
            continue
        if family != word and f" {'ip' if family == 'ipv4' else 'ip6'} " in said:
            continue
        shown.append(word)
    return shown


def _number(values: Values, name: str) -> int:
    value = values.get(name, 0)
    assert isinstance(value, int)
    return value


def _compared(loaded: str, operator: int, data: bytes, mask: bytes | None) -> str:
    if loaded in ("ct state", "ct status") and mask is not None and not any(data):
        names = _STATES if loaded == "ct state" else _STATUS
        bits = int.from_bytes(mask, byteorder)
        words = ",".join([word for bit, word in names.items() if bits & bit])
        return words if operator == 1 else f"& {words} == 0"
    return f"{_OPERATORS[operator]}{_shown(loaded, data, mask)}"


def _shown(loaded: str, data: bytes, mask: bytes | None) -> str:
    if loaded in _NAMES.values():
        name = data.split(b"\0", 1)[0].decode(errors="replace")
        return f'"{name}"' if b"\0" in data or len(data) == 16 else f'"{name}*"'
    if loaded in _ADDRESSES.values():
        return _network(loaded, data, mask)
    if loaded == "meta l4proto":
        return _PROTOCOLS.get(data[0], str(data[0]))
    if loaded == "meta nfproto":
        return _FAMILIES.get(data[0], str(data[0]))
    if loaded.endswith(("sport", "dport")) or loaded.startswith("@"):
        return str(int.from_bytes(data, "big"))
    if loaded == "fib daddr type" and int.from_bytes(data, byteorder) == 2:
        return "local"
    return str(int.from_bytes(data, byteorder))


def _network(loaded: str, data: bytes, mask: bytes | None) -> str:
    size = 16 if loaded.startswith("ip6") else 4
    length = 8 * len(data)
    if mask is not None:
        length = int.from_bytes(mask, "big").bit_count()
    network = ip_network((data.ljust(size, b"\0"), length), strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _flag_words(flags: int) -> str:
    words = ",".join([word for bit, word in _RANGE_FLAGS.items() if flags & bit])
    return f" {words}" if words else ""
