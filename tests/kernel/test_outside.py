"""A namespace's way outside, by both programs: what there is when it is ready, and where it cannot be.

The outside is the session's own namespace: traffic ends at its loopback.
"""

from __future__ import annotations

import pytest

from netkit import ExistsError, Namespace, SpecError, VethPair
from tests.harness.oracle import addresses, ip, link
from tests.harness.outside import any_backend, backend, echoed, helpers, server
from tests.harness.tools import needs_tun

__all__ = ["any_backend", "backend"]  # the fixtures

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = [pytest.mark.capable, needs_tun]


# -- ready when it is there -----------------------------------------------------------------------


def test_it_is_ready(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    assert outside.exists
    assert outside.backend == backend
    assert outside.netns is box
    assert addresses(box, "tap0") == ["10.0.2.100/24"]
    shown = link(box, "tap0")
    assert {"UP", "LOWER_UP"} <= set(shown["flags"])
    assert (shown["mtu"], shown["linkinfo"]["info_kind"]) == (65520, "tun")
    (default,) = ip(box, "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("10.0.2.2", "tap0")
    assert (str(outside.gateway), str(outside.dns)) == ("10.0.2.2", "10.0.2.3")
    assert outside.link.ifindex == shown["ifindex"]
    assert repr(outside) == f"<Outside of an anonymous namespace by {backend}>"


def test_what_it_is_given(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(
        backend=backend, name="wan", address="172.30.7.9/20", mtu=1400, dns=False, default_route=False
    )
    assert addresses(box, "wan") == ["172.30.7.9/20"]
    assert link(box, "wan")["mtu"] == 1400
    assert ip(box, "route", "show", "default") == []
    assert (str(outside.gateway), outside.dns) == ("172.30.0.2", None)


# -- where it cannot be ---------------------------------------------------------------------------


def test_the_current_namespace_is_outside(any_backend: None) -> None:
    with Namespace.current() as here, pytest.raises(SpecError, match="is the outside"):
        here.connect_outside()


def test_a_borrowed_namespace(box: Namespace, backend: str) -> None:
    with Namespace.from_fd(box.fileno()) as borrowed:
        outside = borrowed.connect_outside(backend=backend)
        assert outside.exists
    assert outside.exists  # owned, so it keeps what it needs
    outside.delete()
    assert helpers() == {}


def test_outside_is_where_the_thread_is(box: Namespace, host: Namespace, backend: str) -> None:
    with host.entered():
        box.connect_outside(backend=backend, publish=["8080:80"])
    assert not echoed(None, "127.0.0.1", 8080, wait=1)
    with server("0.0.0.0", 80, ns=box):
        assert echoed(host, "127.0.0.1", 8080)


def test_a_second_one(box: Namespace, backend: str) -> None:
    box.connect_outside(backend=backend, host_loopback=True)
    with pytest.raises(ExistsError, match="'tap0' is taken"):
        box.connect_outside(backend=backend)
    with pytest.raises(ExistsError, match="default_route=False"):
        box.connect_outside(backend=backend, name="tap1", address="10.0.3.100/24")
    assert len(helpers()) == 3
    assert [each.name for each in box.links] == ["lo", "tap0"]
    box.connect_outside(
        backend=backend, name="tap1", address="10.0.3.100/24", default_route=False, host_loopback=True
    )
    with server() as port:
        assert echoed(box, "10.0.2.2", port)
        assert echoed(box, "10.0.3.2", port)


def test_a_name_that_is_taken(box: Namespace, any_backend: None) -> None:
    with VethPair(box, box, name="tap0", peer_name="other"):
        with pytest.raises(ExistsError, match="'tap0' is taken"):
            box.connect_outside()
        assert link(box, "tap0")["linkinfo"]["info_kind"] == "veth"
