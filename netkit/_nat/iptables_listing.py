"""A table's rules as ``iptables -S`` prints them, those with other people's extensions too.

Rules that netkit could have made are read from their bytes. For the rest the extension's own
library prints its options, in a forked child: once it has loaded IPv4's it finds no IPv6 ones, and
what it does with a revision it does not know may end the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal

from netkit._nat.iptables_decode import decode, header_rule
from netkit._nat.iptables_libraries import load_iptc
from netkit._nat.iptables_rules import match_words, rule_text
from netkit._nat.iptables_tables import entries, open_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._nat.iptables_tables import Key

_CHILD_SECONDS = 60  # it takes milliseconds; one that an extension has hung is given up
_UNREADABLE = "[unsupported extension]"


def list_rules(key: Key) -> list[str]:
    """The ``-A`` lines of one table, chain by chain."""
    family, name = key
    with open_table(key) as table:
        chains = [chain.name for chain in table.chains]
        found = [(chain, raw, entry) for chain in chains for raw, entry in entries(table, chain)]
        texts: list[str | None] = []
        for chain, raw, _ in found:
            rule = decode(raw, family, name, chain)
            texts.append(rule_text(rule) if rule else None)
        missing = [number for number, text in enumerate(texts) if text is None]
        foreign = _in_child(table, family, [found[number] for number in missing]) if missing else []
    for number, text in zip(missing, foreign, strict=True):
        texts[number] = text
    return [text or "" for text in texts]


def _in_child(table: Any, family: int, found: list[tuple[str, bytes, Any]]) -> list[str]:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(table, family, found, write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(pid, 0)
    texts = [json.loads(line) for line in lines]
    # A child that an extension took down has printed what came before.
    rest = found[len(texts) :]
    return texts + [_head_text(raw, family, chain) + f" {_UNREADABLE}" for chain, raw, _ in rest]


def _child(table: Any, family: int, found: list[tuple[str, bytes, Any]], write_end: int) -> None:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CHILD_SECONDS)
        for chain, raw, entry in found:
            text = _foreign_text(table, family, chain, raw, entry)
            os.write(write_end, json.dumps(text).encode() + b"\n")
    finally:
        os._exit(0)


def _head_text(raw: bytes, family: int, chain: str) -> str:
    return " ".join(["-A", chain, *match_words(header_rule(raw, family, "", chain))])


def _foreign_text(table: Any, family: int, chain: str, raw: bytes, entry: Any) -> str:
    iptc = load_iptc()
    text = _head_text(raw, family, chain)
    try:
        rule = _rule_class(iptc, family)(entry, iptc.Chain(table, chain))
    except (iptc.XTablesError, AttributeError, ValueError):
        return f"{text} {_UNREADABLE}"
    for match in rule.matches:
        text += f" -m {match.name}{_options(rule, match)}"
    name = (table.get_target(entry) or b"").decode()
    if name:
        text += f" {'-g' if rule.target.goto else '-j'} {name}"
    if name and not _is_verdict(entry):
        text += _options(rule, rule.target)
    return text


def _is_verdict(entry: Any) -> bool:
    # The standard target has an empty name in the kernel: ACCEPT, DROP, RETURN or a user's chain.
    name_at = ctypes.addressof(entry) + entry.target_offset + 2
    return ctypes.string_at(name_at, 1) == b"\0"


def _rule_class(iptc: Any, family: int) -> Any:
    base = iptc.Rule if family == 4 else iptc.Rule6

    class PlainRule(base):  # type: ignore[misc, valid-type]
        tables = ()  # python-iptables would open all five tables to look for a user's chain

    return PlainRule


def _options(rule: Any, extension: Any) -> str:
    saved = extension._get_saved_buf(rule.get_ip())
    return (saved or b"").decode(errors="replace").rstrip()
