"""Many messages in one send: every outcome is matched, though only the last one asks for an ACK."""

from __future__ import annotations

import errno

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkit import Namespace
from netkit._netlink.address import add_address, delete_address
from netkit._netlink.batch import LARGEST_BATCH
from netkit._netlink.wire import NLM_F_ACK, Request
from netkit._spec.address import Address
from tests.harness.oracle import ip

LO = 1


def add(number: int) -> Request:
    return add_address(LO, Address.parse(f"10.0.{number // 250}.{1 + number % 250}/32"))


def missing(number: int) -> Request:
    return delete_address(LO, Address.parse(f"10.9.{number // 250}.{1 + number % 250}/32"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_outcomes_are_matched(host: Namespace, wanted: list[bool]) -> None:
    with Namespace() as box:
        requests = [add(n) if good else missing(n) for n, good in enumerate(wanted)]
        outcomes = box._live_runtime().route.batch(requests)
        assert [outcome is None for outcome in outcomes] == wanted
        for outcome in outcomes:
            assert outcome is None or outcome.errno == errno.EADDRNOTAVAIL
        found = {each["local"] for each in ip(box, "-4", "address", "show")[0]["addr_info"]} - {"127.0.0.1"}
        assert len(found) == sum(wanted)


@pytest.mark.parametrize("count", [2, LARGEST_BATCH, LARGEST_BATCH + 1])
def test_a_batch_that_is_refused_whole_loses_no_outcome(host: Namespace, count: int) -> None:
    outcomes = host._live_runtime().route.batch([missing(number) for number in range(count)])
    assert [outcome is not None and outcome.errno for outcome in outcomes] == [errno.EADDRNOTAVAIL] * count
    # Whatever came late would be taken for the answer to the next request.
    assert [link.name for link in host.links] == ["lo"]


def test_each_asks_for_an_ack_when_it_goes_alone() -> None:
    assert add(1).flags & NLM_F_ACK
