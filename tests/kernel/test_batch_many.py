"""Messages to many sockets at once: every outcome is matched, and where all goes well nothing is received."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkit import Namespace, Scope
from netkit._netlink import many
from netkit._netlink.address import add_address, delete_address
from netkit._netlink.batch import LARGEST_BATCH
from netkit._netlink.many import batch_many
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.wire import Request
from netkit._spec.address import Address
from netkit.errors import ProtocolError, StateError
from tests.harness.oracle import ip

LO = 1
COUNT = 6


def add(number: int) -> Request:
    return add_address(LO, Address.parse(f"10.0.{number // 250}.{1 + number % 250}/32"))


def missing(number: int) -> Request:
    return delete_address(LO, Address.parse(f"10.9.{number // 250}.{1 + number % 250}/32"))


@pytest.fixture
def boxes(host: Namespace) -> Iterator[list[Namespace]]:
    with Scope() as lab:
        yield list(lab.own(*[Namespace() for _ in range(COUNT)]))


def route(box: Namespace) -> NetlinkSocket:
    return box._live_runtime().route


def pending(sock: NetlinkSocket) -> bool:
    """Whether there is something to receive."""
    with socket.socket(fileno=socket.dup(sock.fileno())) as again:
        try:
            again.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True


def added(box: Namespace) -> int:
    return len({each["local"] for each in ip(box, "-4", "address", "show")[0]["addr_info"]} - {"127.0.0.1"})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=LARGEST_BATCH + 9), min_size=1, max_size=COUNT))
def test_outcomes_are_matched(host: Namespace, wanted: list[list[bool]]) -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(Namespace()) for _ in wanted]
        queues = [
            (route(box), [add(n) if good else missing(n) for n, good in enumerate(each)])
            for box, each in zip(made, wanted, strict=True)
        ]
        outcomes = batch_many(queues)
        assert [[outcome is None for outcome in each] for each in outcomes] == wanted
        refused = {outcome.errno for each in outcomes for outcome in each if outcome is not None}
        assert refused <= {errno.EADDRNOTAVAIL}
        assert [added(box) for box in made] == [sum(each) for each in wanted]
        assert not any(pending(sock) for sock, _ in queues)


def test_a_refusal_says_which_namespace_it_is_of(boxes: list[Namespace]) -> None:
    outcomes = batch_many([(route(box), [missing(1) if box is boxes[2] else add(1)]) for box in boxes])
    refused = [(number, each[0]) for number, each in enumerate(outcomes) if each[0] is not None]
    assert [number for number, _ in refused] == [2]
    assert refused[0][1].netns == boxes[2]._live_runtime().label
    assert [link.name for link in boxes[2].links] == ["lo"]  # no answer came late


def test_what_a_stranger_sends_is_no_answer(boxes: list[Namespace]) -> None:
    """F14: any process of the namespace may send to our port; only port id 0 is the kernel."""
    sock = route(boxes[0])
    with socket.socket(fileno=socket.dup(sock.fileno())) as ours:
        port = ours.getsockname()[0]
    with boxes[0].socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as stranger:
        stranger.sendto(b"\0" * 20, (port, 0))
    assert pending(sock)
    assert batch_many([(route(box), [add(1)]) for box in boxes]) == [[None]] * COUNT
    assert not pending(sock)


def test_what_an_interrupted_request_left_is_read_away(boxes: list[Namespace]) -> None:
    sock = route(boxes[0])
    sock._dirty = True  # as a KeyboardInterrupt between send and receive leaves it
    with socket.socket(fileno=socket.dup(sock.fileno())) as ours:
        ours.send(missing(1).pack(sock._sequence, 1))
    assert pending(sock)
    assert batch_many([(route(box), [add(1)]) for box in boxes]) == [[None]] * COUNT
    assert not sock._dirty


def test_lost_answers_are_told(boxes: list[Namespace]) -> None:
    """F09: the kernel drops refusals that the receive buffer does not hold."""
    sock = route(boxes[1])
    with socket.socket(fileno=socket.dup(sock.fileno())) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    requests = [missing(number) for number in range(LARGEST_BATCH)]
    with pytest.raises(ProtocolError, match=r"outcome of 'delete address 10\.9\.0\.1/32.* is unknown"):
        batch_many([(route(box), requests if box is boxes[1] else [add(1)]) for box in boxes])
    assert all(len([*box.links]) == 1 for box in boxes)  # each can be asked


def test_one_that_cannot_be_used_is_said_before_anything_is_sent(
    boxes: list[Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = [(route(box), [add(1)]) for box in boxes]
    with monkeypatch.context() as patch:
        patch.setattr(route(boxes[-1]), "_pid", 1)
        with pytest.raises(StateError, match="fork"):
            batch_many(queues)
    assert batch_many(queues) == [[None]] * COUNT  # no lock is held either


def test_a_closed_one_is_said(boxes: list[Namespace]) -> None:
    closed = NetlinkSocket(boxes[0].socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
    closed.close()
    with pytest.raises(StateError, match="closed"):
        batch_many([*[(route(box), [add(1)]) for box in boxes], (closed, [add(2)])])


def test_threads_that_send_to_the_same_ones_in_another_order_end(boxes: list[Namespace]) -> None:
    queues = [(route(box), [add(1)]) for box in boxes]
    problems: list[BaseException] = []

    def send(order: int) -> None:
        try:
            for _ in range(50):
                batch_many(queues[::order])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=send, args=(order,), daemon=True) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not problems


def test_nothing_is_received_where_all_goes_well(
    boxes: list[Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise AssertionError("it waits for an answer")

    monkeypatch.setattr(NetlinkSocket, "_receive", refuse)
    assert batch_many([(route(box), [add(1), add(2)]) for box in boxes]) == [[None, None]] * COUNT
    with pytest.raises(AssertionError, match="it waits"):  # of few each is asked for its ACK
        batch_many([(route(box), [add(3)]) for box in boxes[: many._FEW]])


def test_a_scope_names_the_one_of_many_that_was_refused(host: Namespace) -> None:
    from netkit import Bridge
    from netkit.errors import ExistsError, KernelError

    with Scope() as lab, Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        made = [Namespace() for _ in range(8)]
        pairs = [
            bridge.pair(box, name=f"port{n}", peer_address=f"10.0.0.{10 + n}/24", default_route=True)
            for n, box in enumerate(made)
        ]
        pairs[5]._far.routes *= 2  # the same route twice
        with pytest.raises(KernelError, match=r"add route default") as raised:
            lab.own(*made, *pairs)
        assert isinstance(raised.value, ExistsError)
        assert [link.name for link in host.links] == ["lo", "br0"]
        assert not any(box.exists for box in made)
