"""VethPair: what goes wrong, and that neither end is left."""

from __future__ import annotations

import pytest

from netkit import ExistsError, KernelError, Namespace, UnsupportedError, VethPair
from tests.harness.oracle import ip, link, names, run_in
from tests.harness.pairs import the_pair
from tests.harness.patience import AT_ONCE


@pytest.mark.parametrize("where", ["near", "far"])
def test_F40_a_taken_name_says_which_and_where(where: str) -> None:
    with Namespace("host") as host, Namespace("box") as box:
        taken = host if where == "near" else box
        run_in(taken, "ip", "link", "add", "eth0", "type", "bridge")
        before = link(taken, "eth0")
        veth = the_pair(host, box)
        with pytest.raises(ExistsError) as caught:
            veth.create()
        assert "'eth0'" in str(caught.value)
        assert f"namespace '{'host' if where == 'near' else 'box'}'" in str(caught.value)
        assert names(taken) == ["lo", "eth0"]
        assert names(box if where == "near" else host) == ["lo"]
        assert link(taken, "eth0") == before
        run_in(taken, "ip", "link", "del", "eth0")
        with veth:  # again, after a create that failed
            assert host.ping("10.0.0.2", timeout=AT_ONCE).loss == 0


def test_a_master_that_is_no_bridge(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="v0", peer_name="eth0") as (no_bridge, _):
        pair = VethPair(host, box, name="v1", peer_name="eth1", master=no_bridge)
        with pytest.raises(UnsupportedError, match=r"Is link 'v0', which is to be its master, a bridge\?"):
            pair.create()
        assert names(host) == ["lo", "v0"]


@pytest.mark.parametrize("side", ["address", "peer_address"])
def test_an_address_that_the_kernel_refuses_leaves_neither_end(
    host: Namespace, box: Namespace, side: str
) -> None:
    refusing = host if side == "address" else box
    run_in(refusing, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    with pytest.raises(OSError, match="IPv6 is disabled"):
        the_pair(host, box).create()
    assert names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("where", ["near", "far"])
def test_an_index_that_a_stranger_has(where: str) -> None:
    """The kernel goes on after the refusal: the stranger must not end up with our addresses."""
    with Namespace() as host, Namespace() as box:
        taken = host if where == "near" else box
        index = taken._live_runtime().new_index()
        for step, name in ((1, "mine"), (2, "mine2")):  # whichever is meant for this namespace
            run_in(taken, "ip", "link", "add", name, "index", str(index + step), "type", "bridge")
        before = ip(taken, "address", "show")
        with pytest.raises(KernelError):
            the_pair(host, box).create()
        assert ip(taken, "address", "show") == before
        with the_pair(host, box):  # the next indexes are free
            assert host.ping("fd00::2", timeout=AT_ONCE).loss == 0
        assert ip(taken, "address", "show") == before
