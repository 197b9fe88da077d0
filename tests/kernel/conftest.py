"""Kernel tests: a fresh namespace plays the host, and each test gives back all it took."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import NOT_ISOLATED
from tests.harness.leaks import Held, leaks
from tests.harness.suites import alone

if TYPE_CHECKING:
    from netkit import Namespace, VethPair


@pytest.fixture(scope="session")
def netkit_is_warm() -> None:
    """Make what netkit keeps for the life of a process, so that it is no test's leak."""
    if NOT_ISOLATED:
        return
    import netkit

    with netkit.Namespace("warm-up") as ns:
        ns.links["lo"]
        here = netkit.Namespace.current()  # not closed: some tests do not close theirs, which are the same
        list(here.links)
        here._live_runtime().netfilter  # noqa: B018
        with ns.sysctl.override("net.ipv4.ip_default_ttl", 99):  # opens /run/netkit/sysctl
            pass
    hypothesis_is_warm()
    gc.collect()
    gc.freeze()  # what stays for good need not be looked through around each test: 40 ms each time


@given(st.none())
def hypothesis_is_warm(nothing: None) -> None:
    """It makes its generator at first, and looks who refers to it: since Python 3.14 none that is frozen."""


@pytest.fixture(autouse=True)
def leaves_nothing(netkit_is_warm: None) -> Iterator[None]:
    """Fail a test that leaves an open file, a thread, a child or a registered namespace."""
    before = Held.now()
    yield
    found = leaks(before)
    if found:
        pytest.fail("the test left behind:\n" + "\n".join(found), pytrace=False)


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A fresh namespace as the test's host."""
    import netkit

    with netkit.Namespace() as ns:
        yield ns


@pytest.fixture
def box() -> Iterator[Namespace]:
    """Another one, beside the host."""
    import netkit

    with netkit.Namespace() as ns:
        yield ns


@pytest.fixture
def other() -> Iterator[Namespace]:
    """A third one."""
    import netkit

    with netkit.Namespace() as ns:
        yield ns


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for a suite of pytest's that a test runs (harness/suites.py)."""
    return alone(pytester, monkeypatch)


@pytest.fixture
def pair(host: Namespace) -> Iterator[VethPair]:
    """``near`` in the host and ``far`` in another namespace, with addresses of both families."""
    import netkit

    with netkit.Namespace() as other:
        pair = netkit.VethPair(
            host,
            other,
            name="near",
            peer_name="far",
            address=["10.0.0.1/24", "fd00::1/64"],
            peer_address=["10.0.0.2/24", "fd00::2/64"],
        )
        with pair:
            yield pair
