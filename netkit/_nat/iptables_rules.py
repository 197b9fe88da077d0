"""A NAT rule in iptables' terms: made from a NatSpec, shown as ``iptables -S`` shows it."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_network

from netkit._spec.forward import ForwardSpec
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, NotRequired, TypedDict

    from netkit._spec._nat_match import Match
    from netkit._spec.nat import NatSpec

    class Rule(TypedDict):
        """What goes to the worker as JSON. A match that begins with ``!`` is negated.

        ``to`` is an address or ``low-high``; ``to_ports`` is ``80``, ``80-90`` or, DNAT only,
        ``100-102/9000``: port 9000 goes to 100, 9001 to 101 (``--to-destination`` of iptables 1.8).
        Of NETMAP, ``to`` is a network. A ``target`` that does not translate is a verdict or a chain.
        """

        family: int
        table: str
        chain: str
        position: Literal["append", "insert"]
        target: str
        src: NotRequired[str]
        dst: NotRequired[str]
        in_interface: NotRequired[str]
        out_interface: NotRequired[str]
        protocol: NotRequired[str]
        sport: NotRequired[str]
        dport: NotRequired[str]
        dst_type: NotRequired[str]
        ctstate: NotRequired[str]
        to: NotRequired[str]
        to_ports: NotRequired[str]
        flags: NotRequired[str]  # of the target: "--random --persistent"
        src_outside: NotRequired[str]  # "224.0.0.0-239.255.255.255", several with commas
        dst_outside: NotRequired[str]
        mark: NotRequired[str]  # of TPROXY and MARK: "0x1000000/0x1000000"
        socket: NotRequired[str]  # "transparent": a socket that is no listener at all addresses
        share: NotRequired[str]  # "nth 3 0": each third packet; "random 3": one in three
        comment: NotRequired[str]  # of letters, digits, - and _ only: iptables quotes others

    class Chains(TypedDict):
        """Chains of our own in one table, and the rules that lead into them and that they begin with."""

        family: int
        table: str
        names: list[str]
        rules: list[Rule]


_TARGETS = {
    "masquerade": "MASQUERADE", "snat": "SNAT", "dnat": "DNAT", "redirect": "REDIRECT", "tproxy": "TPROXY",
}  # fmt: skip
_FLAGS = {"random": "--random", "fully-random": "--random-fully", "persistent": "--persistent"}
_PROTOCOLS = {"icmpv6": "ipv6-icmp"}  # as /etc/protocols and so iptables have it
_OPTIONS = (
    ("src", "-s"),
    ("dst", "-d"),
    ("in_interface", "-i"),
    ("out_interface", "-o"),
    ("protocol", "-p"),
)


BOTH = (4, 6)


def rules_for(spec: NatSpec | ForwardSpec, families: Sequence[int] = BOTH) -> list[Rule]:
    """The iptables rules that do what the spec says: one for each target, twice for ``local=True``.

    One of no family is made for each of ``families``, as there is no table of both.

    Raises SpecError for what iptables cannot do.
    """
    if isinstance(spec, ForwardSpec):
        from netkit._nat.forward_compile import forward_iptables

        return forward_iptables(spec)
    if spec.spread == "jhash":
        raise SpecError(
            f"NAT rule '{spec}': iptables spreads by spread='inc' or 'random' only; "
            "backend='nftables' by 'jhash', too"
        )
    wanted = (spec.family,) if spec.family else families
    if spec.kind == "tproxy":
        return [
            rule for family in wanted for rule in (_held_already(spec, family), _tproxy_rule(spec, family))
        ]
    chains = [spec.hook.upper()] + (["OUTPUT"] if spec.local else [])
    return [_rule(each, chain, family) for family in wanted for chain in chains for each in _parts(spec)]


def _parts(spec: NatSpec) -> list[NatSpec]:
    """One for each rule: DNAT moves a range of ports by itself (``100-102/9000``), REDIRECT does not."""
    return [*spec.one_to_one()] if spec.kind == "redirect" else [*spec.parts()]


def _rule(spec: NatSpec, chain: str, family: int) -> Rule:
    rule: Rule = {
        "family": family,
        "table": "nat",
        "chain": chain,
        "position": "append",
        "target": "NETMAP" if spec.prefix else _TARGETS[spec.kind],
    }
    matches = (
        ("src", _match_text(spec.saddr)),
        ("dst", _match_text(spec.daddr)),
        ("in_interface", _match_text(spec.iif)),
        ("out_interface", _match_text(spec.oif)),
        ("protocol", _match_text(spec.proto)),
        ("sport", _port_text(spec.sport)),
        ("dport", _port_text(spec.dport)),
        ("to", _address_text(spec)),
        ("to_ports", _target_ports(spec)),
        ("flags", " ".join([_FLAGS[word] for word in spec.flags])),
        ("src_outside", _outside(spec, "saddr")),
        ("dst_outside", _outside(spec, "daddr")),
        ("share", _share(spec)),
    )
    for field, text in matches:
        if text:
            rule[field] = text  # type: ignore[literal-required]
    return rule


def _tproxy_rule(spec: NatSpec, family: int) -> Rule:
    rule = _rule(spec, "PREROUTING", family)
    rule["table"] = "mangle"
    rule.setdefault("to", "0.0.0.0" if family == 4 else "::")  # the address of the device it came by
    rule.setdefault("to_ports", "0")  # the port it was for
    rule["mark"] = f"{spec.mark:#x}/{spec.mark:#x}"
    return rule


def _held_already(spec: NatSpec, family: int) -> Rule:
    """What is for a connection of a transparent socket."""
    return {
        "family": family,
        "table": "mangle",
        "chain": "PREROUTING",
        "position": "append",
        "protocol": _match_text(spec.proto),
        "socket": "transparent",
        "target": "MARK",
        "mark": f"{spec.mark:#x}/{spec.mark:#x}",
    }


def _outside(spec: NatSpec, which: str) -> str:
    ends = [f"{net.network_address}-{net.broadcast_address}" for side, net in spec.outside if side == which]
    return ",".join(ends)


def _share(spec: NatSpec) -> str:
    if spec.share is None:
        return ""
    modulus, remainder = spec.share
    return f"nth {modulus} {remainder}" if spec.spread == "inc" else f"random {modulus}"


def _match_text(match: Match[object] | None) -> str:
    if match is None:
        return ""
    text = str(match.value)
    return ("!" if match.negated else "") + _PROTOCOLS.get(text, text)


def _port_text(match: Match[tuple[int, int]] | None) -> str:
    return "" if match is None else ("!" if match.negated else "") + _range(match.value, ":")


def _range(ends: tuple[int, int], separator: str) -> str:
    low, high = ends
    return str(low) if low == high else f"{low}{separator}{high}"


def _address_text(spec: NatSpec) -> str:
    if spec.to is None:
        return ""
    if spec.prefix and spec.to_high is not None:
        changing = (int(spec.to) ^ int(spec.to_high)).bit_length()
        return f"{spec.to}/{spec.to.max_prefixlen - changing}"
    return str(spec.to) if spec.to_high is None else f"{spec.to}-{spec.to_high}"


def _target_ports(spec: NatSpec) -> str:
    if spec.to_ports is None:
        return ""
    text = _range(spec.to_ports, "-")
    moved = len(spec.one_to_one()) > 1  # the kernel itself does not keep the offset in a range
    return f"{text}/{spec.dport.value[0]}" if moved and spec.dport is not None else text


def rule_text(rule: Rule) -> str:
    """The rule as ``iptables-legacy -S`` prints it: ``-A POSTROUTING -s 172.18.0.0/24 -j MASQUERADE``."""
    return " ".join(["-A", rule["chain"], *match_words(rule), "-j", rule["target"], *target_words(rule)])


def command_text(rule: Rule) -> str:
    """The command a person would type: ``iptables-legacy -t nat -A POSTROUTING ...``."""
    program = "iptables-legacy" if rule["family"] == 4 else "ip6tables-legacy"
    text = rule_text(rule)
    if rule["position"] == "insert":
        text = "-I" + text[2:]
    return f"{program} -t {rule['table']} {text}"


def match_words(rule: Rule) -> list[str]:
    """The words before ``-j``."""
    words: list[str] = []
    for field, option in _OPTIONS:
        text = str(rule.get(field, ""))
        if field in ("src", "dst"):
            text = _network_text(text)
        elif field == "protocol":
            text = _protocol_text(text)
        words += _words(option, text)
    if "sport" in rule or "dport" in rule:
        words += ["-m", rule.get("protocol", "")]
    words += _words("--sport", rule.get("sport", "")) + _words("--dport", rule.get("dport", ""))
    words += ["-m", "addrtype", "--dst-type", rule["dst_type"]] if "dst_type" in rule else []
    words += ["-m", "socket", f"--{rule['socket']}"] if "socket" in rule else []
    for field, option in (("src_outside", "--src-range"), ("dst_outside", "--dst-range")):
        for ends in str(rule[field]).split(",") if field in rule else ():  # type: ignore[literal-required]
            words += ["-m", "iprange", "!", option, ends]
    words += _share_words(rule.get("share", ""))
    words += ["-m", "conntrack", "--ctstate", rule["ctstate"]] if "ctstate" in rule else []
    return words + (["-m", "comment", "--comment", rule["comment"]] if "comment" in rule else [])


def _share_words(share: str) -> list[str]:
    if not share:
        return []
    mode, modulus, *rest = share.split(" ")
    words = ["-m", "statistic", "--mode", mode]
    if mode == "nth":
        return [*words, "--every", modulus, "--packet", *rest]
    return [*words, "--probability", f"{probability(int(modulus)) / 0x80000000:.11f}"]


def probability(modulus: int) -> int:
    """One in ``modulus``, as xt_statistic has it: of 2**31, rounded."""
    return round(0x80000000 / modulus)


def _network_text(text: str) -> str:
    if not text:
        return ""
    try:
        network = ip_network(text.lstrip("!"), strict=False)
    except ValueError:  # a mask with holes, in somebody else's rule
        return text
    if text.startswith("!"):
        return f"!{network}"
    return str(network) if network.prefixlen else ""  # any address: iptables prints nothing


def _protocol_text(text: str) -> str:
    sign, name = text[: text.startswith("!")], text.lstrip("!")
    return sign + (_names_by_number().get(name, name) if name.isdigit() else name)


@cache
def _names_by_number() -> dict[str, str]:
    """/etc/protocols, from which iptables takes the names; Python cannot ask by number."""
    names: dict[str, str] = {}
    try:
        with open("/etc/protocols", encoding="utf-8", errors="replace") as file:
            lines = [line.split("#")[0].split() for line in file]
    except OSError:
        return names  # iptables shows numbers, too
    for words in lines:
        if len(words) > 1:
            names.setdefault(words[1], words[0])
    return names


def _words(option: str, text: str) -> list[str]:
    if not text:
        return []
    return ["!", option, text[1:]] if text.startswith("!") else [option, text]


def target_words(rule: Rule) -> list[str]:
    """The options of the target."""
    to, ports = rule.get("to", ""), rule.get("to_ports", "")
    flags = rule.get("flags", "").split()
    if rule["target"] in ("MASQUERADE", "REDIRECT"):
        return (["--to-ports", ports] if ports else []) + flags
    if rule["target"] == "NETMAP":
        return ["--to", to]
    if rule["target"] == "TPROXY":
        return ["--on-port", ports, "--on-ip", to, "--tproxy-mark", rule.get("mark", "")]
    if rule["target"] == "MARK":
        return ["--set-xmark", rule.get("mark", "")]
    if rule["target"] not in ("SNAT", "DNAT"):
        return []
    option = "--to-source" if rule["target"] == "SNAT" else "--to-destination"
    if rule["family"] == 6 and ports and to:
        to = f"[{to}]"
    return [option, f"{to}:{ports}" if ports else to, *flags]
