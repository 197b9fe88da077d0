"""The nftables backend on a socket that counts and can be disturbed, and what nft(8) lists."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit._netlink.socket import NetlinkSocket, Reply
from netkit._netlink.transport import NETLINK_NETFILTER
from netkit._netlink.wire import Request
from netkit._spec.nat import dnat, masquerade, snat
from tests.harness.patience import LONG

MASQUERADE = masquerade(saddr="172.18.0.0/24", oif="enp1s0")
WEB = dnat(proto="tcp", dport=80, to="172.18.0.2:80")
LOCAL_WEB = dnat(proto="tcp", dport=80, to="172.18.0.2:80", local=True)
SIX = snat(saddr="fd00::/64", to="2001:db8::1")


class Counted(NetlinkSocket):
    """A NetlinkSocket that counts what is asked, and can be disturbed."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        super().__init__(socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER), "the test's namespace")
        self.asked: list[str] = []
        self.before_change: Callable[[], None] | None = None
        self.after_change: Callable[[], None] | None = None

    def transact(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked.append("transact")
        before, self.before_change = self.before_change, None
        if before:
            before()
        replies = super().transact(requests)
        after, self.after_change = self.after_change, None
        if after:
            after()
        return replies

    def dump(self, request: Request) -> list[Reply]:
        self.asked.append("dump")
        return super().dump(request)

    def get(self, request: Request) -> Reply:
        self.asked.append("get")
        return super().get(request)


@pytest.fixture
def sockets() -> Iterator[Callable[[], Counted]]:
    opened: list[Counted] = []

    def open_one() -> Counted:
        opened.append(Counted())
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    run_nft("flush", "ruleset")


@pytest.fixture
def netfilter(sockets: Callable[[], Counted]) -> Counted:
    return sockets()


@pytest.fixture
def backend(netfilter: Counted) -> NftablesBackend:
    return NftablesBackend(netfilter)


def run_nft(*words: str) -> str:
    done = subprocess.run(["nft", *words], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ruleset() -> str:
    return run_nft("list", "ruleset")


def lines(text: str) -> list[str]:
    """Lines of a listing without indentation and marks."""
    return [line.strip().partition(" comment ")[0] for line in text.splitlines()]


def progname() -> str:
    with open(f"/proc/{os.getpid()}/comm") as comm:
        return comm.read().strip()
