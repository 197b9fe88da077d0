"""How the suite reads the machine that it compares at its end, on kernels that lack a part."""

from __future__ import annotations

import subprocess

import pytest

from tests.harness import machine
from tests.harness.tools import needs

ABSENT = "RTNETLINK answers: Address family not supported by protocol\nDump terminated\n"


def done(output: str, errors: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(["ip", "-j", "-6", "rule", "show"], status, output, errors)


@pytest.mark.parametrize(
    ("output", "errors", "status"),
    [
        ("[", ABSENT, 255),  # ipv6.disable=1, iproute2 6.1
        ("", ABSENT, 2),
        ("[ ]\n", ABSENT, 1),
        ("[", "RTNETLINK answers: Operation not supported\nDump terminated\n", 255),
        ("", "", 0),
        ("[]", "", 0),
        ("[{}]\n", "", 0),
    ],
)
def test_what_the_kernel_lacks_is_not_there(output: str, errors: str, status: int) -> None:
    assert machine.parsed(done(output, errors, status)) == []


def test_what_is_listed_is_read() -> None:
    assert machine.parsed(done('[{"priority":0,"src":"all"},{}]\n')) == [{"priority": 0, "src": "all"}]


@pytest.mark.parametrize(
    ("output", "errors", "status"),
    [
        ("[", "Cannot open netlink socket: Too many open files\n", 1),
        ("", "RTNETLINK answers: Operation not permitted\n", 2),
        ("[", "", 0),
        ('[{"priority":0}', "", 0),
    ],
)
def test_what_could_not_be_read_is_not_nothing(output: str, errors: str, status: int) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        machine.parsed(done(output, errors, status))


@needs("ip")
def test_rules_of_a_family_that_no_kernel_has_them_of() -> None:
    """As those of IPv6 where it was switched off at boot: the same answer of the kernel."""
    assert machine._ip("-f", "mpls", "rule", "show") == []
    assert machine._ip("link", "show")
