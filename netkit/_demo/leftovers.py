"""What the kernel has before and after the demo, and what of the demo is still there.

Read from the machine's own namespace over netlink, and from /proc; without root, names, mounts and
processes of the broker's world, too. What is new at the end counts as left; what went meanwhile is
somebody else's doing.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator

from netkit import Namespace
from netkit._known import runtime_of
from netkit._netlink.nft import FAMILY_NAMES
from netkit._netlink.nft_policy import TABLE_POLICY
from netkit._netlink.policy import decode
from netkit._netlink.wire import Request
from netkit._system import broker
from netkit.errors import KernelError

MARK = "NETKIT_DEMO"
_SO_NETNS_COOKIE = 71  # Linux 5.14: a number of its own for every network namespace, never used again
_GET_TABLE = (10 << 8) + 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
_CALLED = {
    "links": "links",
    "addresses": "addresses",
    "routes": "routes",
    "rules": "policy rules",
    "tables": "nft tables",
    "forwarding": "forwarding switches",
    "names": "named namespaces",
    "mounts": "namespace mounts",
    "processes": "processes",
    "descriptors": "descriptors of other namespaces",
}


class Machine:
    """What the machine's own network and this process hold at one moment; each part a set of texts."""

    def __init__(self, mark: str) -> None:
        with Namespace.current() as here:
            links = here.links.values()
            self.links = {f"{link.name} ({link.kind or 'device'})" for link in links}
            self.addresses = {f"{address} on {link.name}" for link in links for address in link.addresses}
            self.routes = {str(route) for route in here.routes}
            self.rules = {str(rule) for rule in here.rules}
            self.tables = set(_nft_tables(here))
        self.forwarding = set(_forwarding())
        helpers = broker.processes()
        self.names = _listed("/run/netns").union(*(_listed(f"/proc/{pid}/root/run/netns") for pid in helpers))
        self.mounts = set(_namespace_mounts("self")).union(*map(_namespace_mounts, helpers))
        self.processes = set(_processes(mark, except_for=helpers))
        self.descriptors = set(_foreign_descriptors())

    def new_since(self, before: Machine) -> dict[str, list[str]]:
        """For each part, what is here now and was not before."""
        return {
            called: sorted(getattr(self, part) - getattr(before, part)) for part, called in _CALLED.items()
        }


def _nft_tables(here: Namespace) -> Iterator[str]:
    request = Request(_GET_TABLE, 0, bytes(4), "list nft tables", TABLE_POLICY, 4)
    try:
        replies = runtime_of(here).netfilter.dump(request)
    except (KernelError, OSError):
        return  # no nf_tables in this kernel, or a user who may not look
    for _, data, start, end in replies:
        family = FAMILY_NAMES.get(data[start], str(data[start]))
        yield f"{family} {decode(TABLE_POLICY, data, start + 4, end).get('NFTA_TABLE_NAME')}"


def _forwarding() -> Iterator[str]:
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        yield f"{name} = {_text(f'/proc/sys/net/{name}').strip()}"


def _listed(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()  # nobody has named a namespace yet


def _namespace_mounts(pid: int | str) -> Iterator[str]:
    for line in _text(f"/proc/{pid}/mountinfo").splitlines():
        fields, _, filesystem = line.partition(" - ")
        if filesystem.startswith("nsfs "):
            yield fields.split()[4]


def _processes(mark: str, except_for: Collection[int]) -> Iterator[str]:
    """Children of this process, and whatever was started with the demo's mark in its environment."""
    wanted = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (os.getpid(), *except_for):
            marked = wanted in _text(f"/proc/{name}/environ").encode(errors="surrogateescape").split(b"\0")
            state, parent = _state_and_parent(name)
            if state not in ("Z", "X", "") and (marked or parent == os.getpid()):
                yield f"{name} {_text(f'/proc/{name}/cmdline').replace(chr(0), ' ').strip()}"


def _state_and_parent(pid: str) -> tuple[str, int]:
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], int(fields[1])) if len(fields) > 1 else ("", 0)


def _foreign_descriptors() -> Iterator[str]:
    """Descriptors of this process, and threads of it, that hold a network namespace other than its own."""
    home = os.readlink("/proc/thread-self/ns/net")
    own = _cookie_here()
    for number in _listed("/proc/self/fd"):
        target = _link(f"/proc/self/fd/{number}")
        if target.startswith("net:") and target != home:
            yield f"descriptor {number} -> {target}"
        elif target.startswith("socket:") and _cookie(int(number)) not in (own, None):
            yield f"descriptor {number} -> {target} of another namespace"
    for task in _listed("/proc/self/task"):
        target = _link(f"/proc/self/task/{task}/ns/net")
        if target not in (home, ""):
            yield f"thread {task} in {target}"


def _cookie_here() -> int | None:
    with socket.socket(socket.AF_UNIX) as probe:
        return _cookie(probe.fileno())


def _cookie(number: int) -> int | None:
    """The namespace of a socket, by its cookie; None where the kernel does not tell."""
    try:
        duplicate = os.dup(number)
        with socket.socket(fileno=duplicate) as probe:
            value: int = struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0]
            return value
    except OSError:
        return None


def _text(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # a process that has ended, or one of somebody else


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def together(first: dict[str, list[str]], second: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was left at one moment or at another."""
    return {called: sorted({*texts, *second[called]}) for called, texts in first.items()}


def count(left: dict[str, list[str]]) -> int:
    """How many things are left."""
    return sum(len(texts) for texts in left.values())


def described(left: dict[str, list[str]]) -> Iterable[str]:
    """A line for each part: what was compared and what of it is left."""
    for called, texts in left.items():
        yield f"{called}: {', '.join(texts) if texts else 'none left'}"
