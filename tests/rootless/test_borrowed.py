"""What is not an ordinary user's: the namespace that he is in, and what would outlive his process."""

from __future__ import annotations

import os
import socket

import pytest

from tests.harness.ordinary import Ordinary
from tests.harness.tools import needs
from tests.rootless.programs import program


def sorted_links() -> list[str]:
    """Here: an ordinary user's session is in no namespace of its own."""
    return sorted(name for _, name in socket.if_nameindex())


def test_the_current_namespace_is_the_real_one(nobody: Ordinary) -> None:
    text = """
with Namespace() as a, Namespace.current() as host:
    print(sorted(link.name for link in host.links), os.stat("/proc/self/ns/net").st_ino)
    for change in (lambda: Bridge(host, "br0").create(), lambda: host.routes.add("10.9.0.0/16", dev="lo"),
                   lambda: VethPair(host, a, name="x", peer_name="y").create(),
                   lambda: VethPair(a, host, name="x", peer_name="y").create(),
                   lambda: host.sysctl.__setitem__("net.ipv4.ip_forward", "01")):
        try:
            change()
        except AccessError as problem:
            print("CAP_NET_ADMIN" in str(problem) and "netkit unshare" in str(problem))
"""
    lines = program(nobody, text)
    assert lines[0] == f"{sorted_links()} {os.stat('/proc/self/ns/net').st_ino}"
    assert lines[1:] == ["True"] * 5


def test_a_snapshot_of_it_without_what_he_may_not_read(nobody: Ordinary) -> None:
    text = """
with Namespace.current() as host:
    try:
        host.snapshot()
    except AccessError as problem:
        print(problem)
    before = host.snapshot(nat=False)
    print(sorted(link.name for link in before.links), before.nat, host.snapshot(nat=False) == before)
"""
    refusal, read = program(nobody, text)
    assert "list nft rules" in refusal
    assert "snapshot(nat=False) reads all the rest. This needs CAP_NET_ADMIN" in refusal
    assert read == f"{sorted_links()} () True"


@needs("iptables-legacy")
def test_iptables_there_is_refused_and_its_helper_survives_a_fork(nobody: Ordinary) -> None:
    text = """
with Namespace() as box, Namespace.current() as host:
    try:
        NatRule.masquerade(host, oif="lo", backend="iptables").create()
    except AccessError as problem:
        print(problem)
    with NatRule.masquerade(box, oif="lo", backend="iptables") as rule:
        if (child := os.fork()) == 0:
            import gc
            gc.collect()  # no word about what is the parent's: stderr stays empty
            os._exit(0)
        print(os.waitpid(child, 0)[1], rule.exists)
"""
    refusal, rest = program(nobody, text, **nobody.borrow("iptc"))
    assert "with iptables" in refusal
    assert "This needs CAP_NET_ADMIN" in refusal
    assert rest == "0 True"


@pytest.mark.parametrize(
    ("made", "attempt"), [("'p', persistent=True", "it.create()"), ("'q'", "it.create().detach()")]
)
def test_nothing_can_outlive_the_process(nobody: Ordinary, made: str, attempt: str) -> None:
    text = f"""
it = Namespace({made})
try:
    {attempt}
except UnsupportedError as problem:
    print(problem)
if it.exists:
    it.delete()
"""
    (line,) = program(nobody, text)
    assert "Without root a namespace ends with the process that made it" in line
