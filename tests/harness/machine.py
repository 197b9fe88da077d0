"""A program: for each line read, print what the namespaces it was started in hold, as one JSON object.

Each kind is a mapping from a key to a text, so that a difference can be shown. Counters, lifetimes and
ages are left out. Nothing here loads a kernel module: iptables tables are read only where they exist.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# Counters and caches that change by themselves, or cost a warning in the kernel log to read.
_VOLATILE = ("nf_conntrack_count", "stable_secret", "tcp_fastopen_key", "base_reachable_time", "retrans_time")
_AGES = ("valid_life_time", "preferred_life_time", "expires", "age", "used", "cache")
_AGES += ("gc_timer", "hello_timer", "tcn_timer", "topology_change_timer")  # a bridge's


# EAFNOSUPPORT and EOPNOTSUPP: no such family, or a kernel without policy rules.
_ABSENT = ("Address family not supported", "Operation not supported")


def read() -> dict[str, dict[str, str]]:
    return {
        "link": _by_name(_ip("link", "show")),
        "address": _by_name(_ip("address", "show")),
        "route": _by_text(
            _ip("-4", "route", "show", "table", "all") + _ip("-6", "route", "show", "table", "all")
        ),
        "rule": _by_text(_ip("-4", "rule", "show") + _ip("-6", "rule", "show")),
        "neighbour": _by_text(_static(_ip("neighbour", "show"))),
        "nft": _numbered(_output(["nft", "--stateless", "list", "ruleset"])),
        "iptables": _iptables("iptables-legacy", "/proc/net/ip_tables_names"),
        "ip6tables": _iptables("ip6tables-legacy", "/proc/net/ip6_tables_names"),
        "namespace": _directory("/run/netns"),
        "journal": _directory("/run/netkit"),
        "mount": _mounts(),
        "sysctl": _sysctls(),
    }


def _done(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 0, "", "")


def _output(argv: list[str]) -> str:
    return _done(argv).stdout


def _ip(*words: str) -> list[dict[str, object]]:
    return parsed(_done(["ip", "-j", "-d", *words]))


def parsed(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """What `ip -j` has listed; nothing where the kernel has no such thing.

    Booted with ipv6.disable=1 it has no rules of IPv6: `ip -6 rule` fails then, after a lonely `[`. An empty
    list may be nothing at all, too, or `[{}]`. Whatever else goes wrong must not pass for "nothing is there".
    """
    if done.returncode and not any(words in done.stderr for words in _ABSENT):
        raise RuntimeError(f"{' '.join(done.args)}: status {done.returncode}: {done.stderr.strip()}")
    listed = done.stdout.strip()
    if listed == "[" and done.returncode:
        listed = ""
    return [item for item in json.loads(listed or "[]") if item]


def _by_name(items: list[dict[str, object]]) -> dict[str, str]:
    return {str(item.get("ifname", index)): _text(item) for index, item in enumerate(items)}


def _by_text(items: list[dict[str, object]]) -> dict[str, str]:
    return {_text(item): _text(item) for item in items}


def _static(neighbours: list[dict[str, object]]) -> list[dict[str, object]]:
    """Learnt neighbours come and go with the machine's own traffic."""
    return [entry for entry in neighbours if {"PERMANENT", "NOARP"} & set(entry.get("state", []))]  # type: ignore[call-overload]


def _text(item: object) -> str:
    return json.dumps(_without_ages(item), sort_keys=True)


def _without_ages(item: object) -> object:
    if isinstance(item, dict):
        return {key: _without_ages(value) for key, value in item.items() if key not in _AGES}
    if isinstance(item, list):
        return [_without_ages(value) for value in item]
    return item


def _numbered(text: str) -> dict[str, str]:
    return {f"{number:05}": line for number, line in enumerate(text.splitlines())}


def _iptables(command: str, tables: str) -> dict[str, str]:
    try:
        names = Path(tables).read_text().split()
    except OSError:
        return {}
    rules = [f"{name} {rule}" for name in sorted(names) for rule in _rules(command, name)]
    return _numbered("\n".join(rules))


def _rules(command: str, table: str) -> list[str]:
    """A table that appears with nothing but its built-in chains was loaded, not changed."""
    lines = _output([command, "-w", "-t", table, "-S"]).splitlines()
    return [line for line in lines if not (line.startswith("-P ") and line.endswith(" ACCEPT"))]


def _directory(path: str) -> dict[str, str]:
    try:
        return {entry.name: f"{path}/{entry.name} {_target(entry)}" for entry in os.scandir(path)}
    except OSError:
        return {}


def _target(entry: os.DirEntry[str]) -> str:
    return os.readlink(entry.path) if entry.is_symlink() else f"inode {entry.inode()}"


def _mounts() -> dict[str, str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[0]: line for line in lines}


def _sysctls() -> dict[str, str]:
    values = {}
    for directory, _, names in os.walk("/proc/sys/net"):
        if directory.endswith("/nf_log"):
            continue  # a test's LOG rule loads the kernel's logger, which enters itself here
        for name in names:
            if not name.startswith(_VOLATILE):
                path = f"{directory}/{name}"
                values[path] = f"{path} = {_value(path)}"
    return values


def _value(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError as error:
        return str(error.errno)


if __name__ == "__main__":
    for _ in sys.stdin:
        print(json.dumps(read()), flush=True)
