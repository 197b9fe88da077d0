"""Tables of what an object has to say: links, addresses, routes, rules, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from netkit._display.texts import cells, padded, printable

if TYPE_CHECKING:
    from netkit._link import Link

_MOST_ROWS = 500


class Table(NamedTuple):
    """Texts in rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        rows = [[printable(cell.replace("\n", " ")) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max([cells(row[number]) for row in rows]) for number in range(len(self.columns))]
        lines = [
            "  ".join([padded(cell, width) for cell, width in zip(row, widths, strict=True)]) for row in rows
        ]
        return "\n".join([line.rstrip() for line in lines])


def tables_of(shown: object) -> list[Table]:
    """The tables of any object of netkit's that is not drawn."""
    for kind in type(shown).__mro__:
        maker = _MAKERS.get(kind.__name__)
        if maker is not None and kind.__module__.startswith("netkit."):
            return [_limited(each) for each in maker(shown)]
    return [Table("", ("",), [(repr(shown),)])]


def _limited(table: Table) -> Table:
    rows = list(islice(table.rows, _MOST_ROWS))
    more = len(table.rows) - len(rows)
    note = f"{more} more rows are not shown" if more > 0 else ""
    return table._replace(rows=rows, note="; ".join([each for each in (table.note, note) if each]))


def _fields(
    values: Iterable[object], caption: str, columns: str, names: Sequence[str] | None = None
) -> Iterator[Table]:
    words = columns.split()
    rows = [[_text(getattr(each, name)) for name in names or words] for each in values]
    yield Table(caption, words, rows)


def _text(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, frozenset | tuple | list):
        texts: list[str] = [str(each) for each in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return "\n".join(sorted(texts) if isinstance(value, frozenset) else texts)
    return str(value)


def _caption(shown: object) -> str:
    """Its repr without what makes it one."""
    return repr(shown).removeprefix("<").removesuffix(">")


# -- one for each kind of object ------------------------------------------------------


def _links(shown: Any) -> Iterator[Table]:
    columns = "name kind state mtu mac master addresses alias"
    return _fields(shown.read(), _caption(shown), columns)


def _link(shown: Any) -> Iterator[Table]:
    record = shown._read()
    master, peer = shown.master, shown.peer
    rows = [
        ("name", record.name), ("kind", record.kind or ""), ("state", record.state),
        ("mtu", str(record.mtu)), ("mac", record.mac or ""), ("alias", record.alias or ""),
        ("master", "" if master is None else master._last_name),
        ("peer", "" if peer is None else _caption(peer)),
        ("addresses", "\n".join([str(each) for each in shown.addresses])),
        ("received", _counted(record.stats.rx_packets, record.stats.rx_bytes)),
        ("sent", _counted(record.stats.tx_packets, record.stats.tx_bytes)),
    ]  # fmt: skip
    yield Table(_caption(shown), ("", ""), [row for row in rows if row[1]])


def _adopted(shown: Any) -> Iterator[Table]:
    return _link(shown.link)


def _counted(packets: int, size: int) -> str:
    return f"{packets} packets, {size} bytes"


def _addresses(shown: Any) -> Iterator[Table]:
    rows = [[str(each), each.scope, each.label or "", _text(each.flags)] for each in shown]
    yield Table(_caption(shown), ("address", "scope", "label", "flags"), rows)


def _routes(shown: Any) -> Iterator[Table]:
    return _fields(shown, _caption(shown), "dst via dev src metric proto scope type nexthops")


def _rules(shown: Any) -> Iterator[Table]:
    rows = [["IPv6" if each.family == 6 else "IPv4", str(each)] for each in shown]
    yield Table(_caption(shown), ("family", "rule"), rows)


def _neighbours(shown: Any) -> Iterator[Table]:
    return _fields(shown, _caption(shown), "address mac dev state")


def _connections(shown: Any) -> Iterator[Table]:
    rows = [[str(each), f"{each.timeout} s"] for each in shown]
    yield Table(_caption(shown), ("connection", "forgotten in"), rows)


def _fdb(shown: Any) -> Iterator[Table]:
    return _fields(shown, _caption(shown), "mac dev vlan state")


def _altnames(shown: Any) -> Iterator[Table]:
    yield Table(_caption(shown), ("alternative name",), [[each] for each in shown])


def _nat_rules(shown: Any) -> Iterator[Table]:
    rows = [
        [
            each.rule,
            "this process" if each.ours else each.by or "",
            each.backend,
            f"{each.table} {each.chain}",
        ]
        for each in shown
    ]
    yield Table(_caption(shown), ("rule", "made by", "backend", "chain"), rows)


def _nat_rule(shown: Any) -> Iterator[Table]:
    packets, size = shown.counters
    yield Table(
        _caption(shown),
        ("rule", "backend", "packets", "bytes"),
        [[str(shown._spec), shown.backend or "", str(packets), str(size)]],
    )


def _port_mapping(shown: Any) -> Iterator[Table]:
    packets, size = shown.counters
    rows = [[str(each)] for each in shown.specs]
    yield Table(
        _caption(shown), ("published",), rows, f"{packets} connections, {size} bytes of first packets"
    )


def _veth_pair(shown: Any) -> Iterator[Table]:
    yield _ends("veth", [("link", shown.link), ("peer", shown.peer)])


def _bridge(shown: Any) -> Iterator[Table]:
    yield _ends(_caption(shown), [("bridge", shown.link), *[("port", each) for each in shown.ports]])


def _ends(caption: str, links: Sequence[tuple[str, Link]]) -> Table:
    rows: list[list[str]] = []
    for word, link in links:
        record = link._read()
        addresses = "\n".join([str(each) for each in link.addresses])
        rows.append([word, record.name, link.netns._called(), record.state, record.mac or "", addresses])
    return Table(caption, ("", "name", "namespace", "state", "mac", "addresses"), rows)


def _outside(shown: Any) -> Iterator[Table]:
    rows = [
        ("device", shown.link._last_name),
        ("backend", shown.backend or ""),
        ("gateway", str(shown.gateway)),
    ]
    rows += [("published", str(each)) for each in shown.published]
    yield Table(_caption(shown), ("", ""), rows)


# What one looks for first; the rest has ``sysctl -a``.
_SYSCTLS = (
    *[f"net.{ip}.conf.{each}.forwarding" for ip in ("ipv4", "ipv6") for each in ("all", "default")],
    *[f"net.ipv4.conf.{each}.rp_filter" for each in ("all", "default")],
    *[f"net.ipv6.conf.{each}.{key}" for key in ("disable_ipv6", "accept_dad") for each in ("all", "default")],
    "net.ipv4.ip_default_ttl", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range", "net.ipv4.tcp_congestion_control", "net.netfilter.nf_conntrack_max",
)  # fmt: skip


def _sysctls(shown: Any) -> Iterator[Table]:
    found = [(key, shown.get(key)) for key in _SYSCTLS]
    rows = [(key, " ".join(value.split())) for key, value in found if value is not None]  # without tabs
    yield Table(_caption(shown), ("sysctl", "value"), rows, "and those that `sysctl -a` lists")


def _override(shown: Any) -> Iterator[Table]:
    rows = [(shown.key, shown._text, " ".join((shown._netns.sysctl.get(shown.key) or "").split()))]
    yield Table(_caption(shown), ("sysctl", "overridden with", "is now"), rows)


def _process(shown: Any) -> Iterator[Table]:
    words = [shown.args] if isinstance(shown.args, str) else [str(each) for each in shown.args]
    status = shown.poll()
    rows = [("command", " ".join(words)), ("pid", str(shown.pid))]
    rows += [("status", "it runs" if status is None else str(status))]
    yield Table(f"process {shown.pid}", ("", ""), rows)


def _capture(shown: Any) -> Iterator[Table]:
    packets = shown.captured()
    rows = [[f"{each.time - packets[0].time:.6f}", str(each)] for each in packets]
    note = f"{shown.dropped} were lost, for the ring was full" if shown.dropped else ""
    yield Table(_caption(shown), ("seconds", "packet"), rows, note)


def _packet(shown: Any) -> Iterator[Table]:
    names = ("ethernet", "vlans", "arp", "ip", "tcp", "udp", "icmp")
    found = [(name, getattr(shown, name)) for name in names]
    rows = [(name, _text(value)) for name, value in found if value]
    yield Table(str(shown), ("", ""), [*rows, ("payload", f"{len(shown.payload)} bytes")])


def _nat_watch(shown: Any) -> Iterator[Table]:
    yield Table(_caption(shown), ("restored",), [[str(shown.restored)]])


def _value(shown: Any) -> Iterator[Table]:
    """A frozen one: its fields, but for those that say nothing. Bytes are for programs."""
    kind: Any = shown.__class__
    names: list[str] = list(getattr(kind, "_fields", None) or kind.__dataclass_fields__)
    values = [(name, getattr(shown, name)) for name in names]
    rows = [(name, _text(value)) for name, value in values if not isinstance(value, bytes)]
    has_text = any("__str__" in vars(each) for each in kind.__mro__[:-1])
    caption = f"{kind.__name__} {shown}" if has_text else kind.__name__
    yield Table(caption, ("", ""), [row for row in rows if row[1]])


# By name: importing the classes would load what the program has not used.
_MAKERS: dict[str, Callable[[Any], Iterator[Table]]] = {
    "Links": _links, "Link": _link, "AdoptedLink": _adopted,
    "Addresses": _addresses, "RouteTable": _routes, "Rules": _rules,
    "Neighbours": _neighbours, "Connections": _connections, "ForwardingDatabase": _fdb,
    "AlternativeNames": _altnames, "BackendRule": _nat_rule, "NatRules": _nat_rules,
    "Sysctls": _sysctls, "SysctlOverride": _override, "Process": _process, "Capture": _capture,
    "Packet": _packet, "NatWatch": _nat_watch, "Value": _value,
    "LinkState": _value, "InterfaceAddress": _value, "NatState": _value,
    "PortMapping": _port_mapping, "VethPair": _veth_pair, "Bridge": _bridge, "Outside": _outside,
}  # fmt: skip
