"""The nftables backend where an outcome stays unknown: interrupts, lost answers, forks, threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from netkit._nat.nftables import NftablesBackend
from netkit._netlink import nft
from netkit._netlink.socket import Reply
from netkit._netlink.wire import Request
from netkit._spec.nat import dnat
from netkit.errors import ProtocolError, StateError
from tests.harness.calls import at_once
from tests.harness.nftables import LOCAL_WEB, SIX, WEB, Counted, backend, netfilter, ruleset, sockets
from tests.harness.tools import needs

__all__ = ["backend", "netfilter", "sockets"]  # the fixtures
pytestmark = [pytest.mark.capable, needs("nft")]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ProtocolError])
def test_an_interrupted_add_leaves_nothing(
    netfilter: Counted, backend: NftablesBackend, kind: type[BaseException]
) -> None:
    (kept,) = backend.add([WEB])
    netfilter.after_change = raiser(kind)
    with pytest.raises(kind):
        backend.add([SIX, LOCAL_WEB])
    assert backend.rules() == [kept]
    assert ruleset().count("chain ") == 1
    backend.remove([kept])
    assert ruleset() == ""


@pytest.mark.parametrize("told", [0, 1])
def test_rules_of_which_the_kernel_has_not_told_are_removed(
    netfilter: Counted, backend: NftablesBackend, told: int
) -> None:
    """It had no memory for the echoes, say: what it has added is read when somebody needs it."""
    (kept,) = backend.add([WEB])
    transact = netfilter.transact

    def forgetful(requests: Sequence[Request]) -> list[Reply]:
        replies = transact(requests)
        rules = [reply for reply in replies if nft.parse_rule(reply) is not None]
        return [reply for reply in replies if reply not in rules[told:]]

    netfilter.transact = forgetful  # type: ignore[method-assign]
    (local,) = backend.add([LOCAL_WEB])
    netfilter.transact = transact  # type: ignore[method-assign]
    with pytest.raises(ProtocolError, match="not told"):
        backend.counters(local)
    backend.remove([local])
    assert ruleset().count("dnat to") == 1
    assert "chain output" not in ruleset()
    backend.remove([kept])
    assert ruleset() == ""


def test_a_removal_whose_answer_was_lost_has_happened(netfilter: Counted, backend: NftablesBackend) -> None:
    first, second, third = backend.add([WEB, SIX, LOCAL_WEB])
    netfilter.after_change = raiser(ProtocolError)
    backend.remove([first])
    netfilter.after_change = raiser(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        backend.remove([second])
    assert [rule_id.mark for rule_id in backend.rules()] == [third.mark]
    backend.remove([first, second, third])
    assert ruleset() == ""


def raiser(kind: type[BaseException]) -> Callable[[], None]:
    def do_raise() -> None:
        raise kind("disturbed by the test")

    return do_raise


def test_a_forked_child_is_refused(backend: NftablesBackend) -> None:
    (rule_id,) = backend.add([WEB])
    child = os.fork()
    if child == 0:
        try:
            backend.remove([rule_id])
        except StateError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert backend.exists(rule_id)


def test_threads_share_it(backend: NftablesBackend) -> None:
    def work(number: int) -> None:
        for port in range(1, 21):
            backend.remove(backend.add([dnat(proto="tcp", dport=port, to=("172.18.0.2", 1 + number))]))

    assert at_once(4, work) == []
    assert ruleset() == ""
