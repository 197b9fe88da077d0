"""The nftables backend on kernels that lack something, and how it tells."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit._nat.nftables_probe import probe
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.socket import Reply
from netkit._netlink.wire import Request
from netkit._spec.nat import masquerade
from netkit.errors import AccessError, KernelError, kernel_error
from tests.harness.nftables import SIX, WEB, Counted, backend, lines, netfilter, progname, ruleset, sockets
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["backend", "netfilter", "sockets"]  # the fixtures
pytestmark = [pytest.mark.capable, needs("nft")]


class Lacking(Counted):
    """As a kernel would answer that lacks something."""

    def __init__(self, refuse: Callable[[Request], int]) -> None:
        super().__init__()
        self.refuse = refuse

    def transact(self, requests: Sequence[Request]) -> list[Reply]:
        for request in requests:
            if self.refuse(request):
                raise kernel_error(request.operation, self.refuse(request), netns=self.label)
        return super().transact(requests)

    def batch(self, requests: Sequence[Request]) -> list[KernelError | None]:
        for index, request in enumerate(requests):
            if self.refuse(request):
                outcomes: list[KernelError | None] = [None] * len(requests)
                outcomes[index] = kernel_error(request.operation, self.refuse(request), netns=self.label)
                return outcomes
        return super().batch(requests)


def refuse_inet(request: Request) -> int:
    """A kernel without CONFIG_NF_TABLES_INET."""
    return errno.EOPNOTSUPP if request.kind == 0x0A00 and request.body[0] == NFPROTO_INET else 0


def test_without_inet_there_are_two_tables() -> None:
    lacking = Lacking(refuse_inet)
    try:
        backend = NftablesBackend(lacking)
        both, six, four = backend.add([masquerade(oif="eth0"), SIX, WEB])
        assert [family for family, *_ in both.places] == [NFPROTO_IPV4, NFPROTO_IPV6]
        assert backend.rules() == [both, four, six]
        listed = lines(ruleset())
        assert f"table ip {backend.table} {{ # progname {progname()}" in listed
        assert f"table ip6 {backend.table} {{ # progname {progname()}" in listed
        assert listed.count('oifname "eth0" counter packets 0 bytes 0 masquerade') == 2
        assert listed.count("tcp dport 80 counter packets 0 bytes 0 dnat to 172.18.0.2:80") == 1
        detached = backend.detach([both])
        assert backend.adopt([both.mark])[0].mark == detached[0].mark
        backend.remove([both, four])
        assert "table ip " not in ruleset()
        backend.remove([six])
        assert ruleset() == ""
    finally:
        lacking.close()


def refuse_ipv6(request: Request) -> int:
    """A kernel without IPv6, which so has no inet tables either."""
    return errno.EAFNOSUPPORT if request.kind == 0x0A00 and request.body[0] != NFPROTO_IPV4 else 0


def test_without_ipv6_a_rule_of_both_families_is_one_of_ipv4() -> None:
    lacking = Lacking(refuse_ipv6)
    try:
        backend = NftablesBackend(lacking)
        (both,) = backend.add([masquerade(oif="eth0")])
        assert [family for family, *_ in both.places] == [NFPROTO_IPV4]
        (later,) = backend.add([masquerade(oif="eth1")])
        with pytest.raises(KernelError) as caught:
            backend.add([SIX])
        assert caught.value.errno == errno.EAFNOSUPPORT
        assert backend.rules() == [both, later]
        backend.remove([both, later])
        assert ruleset() == ""
    finally:
        lacking.close()


@pytest.mark.parametrize(("needle", "usable"), [(b"netkit-probe\0", True), (b"netkit-probe-owner\0", False)])
def test_probe_knows_that_inet_is_not_needed(needle: bytes, usable: bool) -> None:
    lacking = Lacking(lambda request: refuse_inet(request) if needle in request.body else 0)
    try:
        assert (probe(lacking) is None) == usable
    finally:
        lacking.close()


def test_a_kernel_without_nf_tables_is_told_as_it_said() -> None:
    lacking = Lacking(lambda request: errno.EOPNOTSUPP if request.kind == 0x10 else 0)
    try:
        backend = NftablesBackend(lacking)
        with pytest.raises(KernelError) as caught:
            backend.add([WEB])
        assert caught.value.errno == errno.EOPNOTSUPP
        assert "CONFIG_NF_TABLES " in (probe(lacking) or "")
    finally:
        lacking.close()


def test_probe_finds_it_usable_and_changes_nothing(netfilter: Counted, backend: NftablesBackend) -> None:
    backend.add([WEB])
    before = ruleset()
    assert probe(netfilter) is None
    assert ruleset() == before


@pytest.mark.parametrize(
    ("kind", "needle", "number", "named"),
    [
        (0x0A03, b"prerouting", errno.ENOENT, "nft_chain_nat"),
        (0x0A06, b"masq\0", errno.ENOENT, "CONFIG_NFT_MASQ"),
        (0x0A06, b"nat\0", errno.ENOENT, "CONFIG_NFT_NAT"),
        (0x0A06, b"redir\0", errno.ENOENT, "CONFIG_NFT_REDIR"),
        (0x0A00, b"owner\0", errno.EOPNOTSUPP, "Linux 5.12"),
        (0x10, b"", errno.EPERM, "Operation not permitted"),
    ],
)
def test_probe_names_what_is_missing(kind: int, needle: bytes, number: int, named: str) -> None:
    lacking = Lacking(lambda request: number if request.kind == kind and needle in request.body else 0)
    try:
        assert named in (probe(lacking) or "")
    finally:
        lacking.close()


def test_without_the_capability_it_is_an_access_error() -> None:
    """In a child without capabilities: EPERM comes with the sequence number of the batch's BEGIN."""
    program = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
from netkit._nat.nftables import NftablesBackend
from netkit._nat.nftables_probe import probe
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.nat import masquerade
from netkit.errors import AccessError
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
nothing = (ctypes.c_uint32 * 6)()
assert libc.capset(header, nothing) == 0
opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)
netfilter = NetlinkSocket(opened, "here", lambda: "CAP_NET_ADMIN")
try:
    NftablesBackend(netfilter).add([masquerade()])
except AccessError as problem:
    print(problem)
print(probe(netfilter))
"""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "cannot create nft table" in first
    assert "CAP_NET_ADMIN" in first
    assert "CAP_NET_ADMIN" in second
    assert issubclass(AccessError, PermissionError)
