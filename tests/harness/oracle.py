"""What the system's own tools say of a namespace: the truth that netkit is compared with.

Each runs through nsenter(1) on the namespace's descriptor (see `place`), so that nothing depends on how
netkit names or registers it, or starts programs.
"""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

from tests.harness.patience import LONG
from tests.harness.place import HasFd, inside

RTNLGRP_ALL = 0x7FFFFFFF  # the groups 1 to 31 as bind(2)'s mask: netlink(7)


def run_in(ns: HasFd, *argv: str, input: str | None = None, timeout: float = LONG) -> str:
    """The standard output of a command in the namespace; a failure shows its error output."""
    done = _nsenter(ns, argv, input, timeout)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def succeeds(ns: HasFd, *argv: str, timeout: float = LONG) -> bool:
    """Whether a command ends with status 0 in the namespace."""
    return _nsenter(ns, argv, None, timeout).returncode == 0


# How `ip`, `tc` and the kernel say so.
_LACKING = re.compile(
    r"not supported|qdisc kind is unknown|qdisc not found|Unknown device type|Invalid argument|"
    r"requires [A-Z0-9_]+ to be enabled|is a garbage"  # that is a word which this `ip` does not know
)
VLAN_FILTERING = ("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1")


def lacks(ns: HasFd, *argv: str) -> str | None:
    """How a command is told that this kernel cannot do it; None if it does it. Any other end is an error."""
    done = _nsenter(ns, argv, None, LONG)
    if not done.returncode:
        return None
    assert _LACKING.search(done.stderr), f"{' '.join(argv)}: status {done.returncode}\n{done.stderr}"
    return done.stderr.strip()


def words_of_kernel(ns: HasFd, *argv: str) -> str | None:
    """What the kernel says, beside an errno, in refusing an `ip` command; not every kernel has words."""
    done = _nsenter(ns, argv, None, LONG)
    assert done.returncode, f"{' '.join(argv)} was not refused"
    words = done.stderr.strip()
    return words.removeprefix("Error: ").removesuffix(".") if words.startswith("Error: ") else None


def _nsenter(
    ns: HasFd, argv: tuple[str, ...], input: str | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        inside(ns, *argv), input=input or "", capture_output=True, text=True, timeout=timeout
    )


def ip(ns: HasFd, *words: str) -> list[dict[str, Any]]:
    """`ip -j -d WORDS`, parsed: `ip(ns, "-6", "route", "show", "table", "all")`."""
    done = _nsenter(ns, ("ip", "-j", "-d", *words), None, LONG)
    if done.returncode and "FIB table does not exist" not in done.stderr:  # that table is just empty
        raise AssertionError(f"ip {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    # iproute2 prints an empty list as nothing, as [ or as [{}].
    return [item for item in json.loads((done.stdout.strip().strip("[") and done.stdout) or "[]") if item]


def link(ns: HasFd, name: str) -> dict[str, Any]:
    """`ip -j -d link show NAME`."""
    (found,) = ip(ns, "link", "show", name)
    return found


def names(ns: HasFd) -> list[str]:
    """The names of all links, in the kernel's order."""
    return [item["ifname"] for item in ip(ns, "link", "show")]


def sorted_names(ns: HasFd) -> list[str]:
    """The names of all links, in alphabetical order."""
    return sorted(names(ns))


def addresses(ns: HasFd, name: str) -> list[str]:
    """The addresses of a link as `10.0.0.1/24`, without IPv6 link-local ones."""
    (found,) = ip(ns, "address", "show", name)
    return [f"{info['local']}/{info['prefixlen']}" for info in found["addr_info"] if info["scope"] != "link"]


def nft(ns: HasFd) -> list[dict[str, Any]]:
    """`nft -j list ruleset`, parsed, without the version line."""
    items = json.loads(run_in(ns, "nft", "-j", "list", "ruleset"))["nftables"]
    return [item for item in items if "metainfo" not in item]


def nft_text(ns: HasFd) -> str:
    """`nft list ruleset` without counters."""
    return run_in(ns, "nft", "--stateless", "list", "ruleset")


def iptables_legacy(ns: HasFd, table: str = "nat", family: int = 4) -> list[str]:
    """`iptables-legacy -t TABLE -S` as lines; family 6 asks ip6tables-legacy."""
    command = "iptables-legacy" if family == 4 else "ip6tables-legacy"
    return run_in(ns, command, "-w", "-t", table, "-S").splitlines()


class NamespaceSocket(Protocol):
    """A namespace that opens sockets: netkit.Namespace.socket."""

    def socket(self, family: int, type: int, proto: int) -> socket.socket: ...


class Events:
    """Wakes up at rtnetlink events of a namespace: what a test does instead of sleeping.

    >>> with Events(ns) as events:
    ...     events.wait_until(lambda: link(ns, "eth0")["operstate"] == "UP")
    """

    def __init__(self, ns: NamespaceSocket) -> None:
        self._socket = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTNLGRP_ALL))
        self._socket.setblocking(False)

    def wait_until(self, condition: Callable[[], bool], timeout: float = LONG) -> None:
        """Return when `condition()` is true, asking again after each event; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                raise AssertionError(f"not true after {timeout} s and the last event: {condition}")
            self._drain()

    def wait_until_at_rest(self, ns: HasFd, links: int) -> None:
        """Return when so many links have link-local addresses with their routes: they come on a work queue,
        and would come between two looks that are to be the same."""

        def local() -> list[str]:
            return re.findall(r"^local fe80::\S+", run_in(ns, *"ip -6 route show table local".split()), re.M)

        self.wait_until(lambda: len(local()) == links)

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != 105:  # ENOBUFS: events were lost, the condition is asked again anyway
                    raise

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def whole_state(ns: HasFd) -> list[str]:
    """Links, addresses, routes, rules, fixed neighbours and nft's rule set, as lines.

    One look for all of it: for tests that look thousands of times.
    """
    asked = "link show\naddress show\nrule show\nroute show table all\nneighbour show nud permanent\n"
    looks = [f"ip -o -{family} -force -batch - <<'END' 2>&1\n{asked}END" for family in "46"]
    return run_in(ns, "sh", "-c", "\n".join([*looks, "nft --stateless list ruleset"])).splitlines()
