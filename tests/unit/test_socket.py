"""NetlinkSocket against a simulated kernel: what is lost, late, foreign, cut or broken (F04-F16)."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit import Namespace
from netkit._netlink.batch import LARGEST_BATCH, LARGEST_SEND
from netkit._netlink.link import get_link, list_links, new_link, parse_link, set_link
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.wire import (
    HEADER,
    NLM_F_ACK,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
)
from netkit.errors import (
    BusyError,
    ExistsError,
    KernelError,
    NetkitError,
    NotFoundError,
    ProtocolError,
    StateError,
    WaitTimeout,
)
from netkit.testing import FakeKernel
from tests.harness.calls import at_once, in_child

NAMES = ["lo", *[f"link{n:03}" for n in range(60)]]


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    with FakeKernel() as kernel:
        yield kernel


@pytest.fixture
def host(kernel: FakeKernel) -> Iterator[Namespace]:
    netns = kernel.namespace("host")
    netns._live_runtime().route.batch([new_link(name, "dummy") for name in NAMES[1:]])
    kernel.forget_requests()
    yield netns
    netns.close()


@pytest.fixture
def route(host: Namespace) -> NetlinkSocket:
    return host._live_runtime().route


def names(route: NetlinkSocket) -> list[str]:
    return [parse_link(reply).name for reply in route.dump(list_links())]


# -- whose answer it is (F14, F15) ---------------------------------------------------


def test_F15_an_answer_to_an_older_request_is_skipped(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.stale(1)
    route.request(set_link(1, mtu=1000))
    kernel.stale(1)
    assert parse_link(route.get(get_link(name="lo"))).mtu == 1000
    kernel.stale(1)
    assert names(route) == NAMES
    assert kernel.pending_faults == 0


def test_F14_what_another_process_sends_is_dropped(kernel: FakeKernel, route: NetlinkSocket) -> None:
    forged = HEADER.pack(20, NLMSG_DONE, NLM_F_MULTI, 0, 0) + bytes(4)
    for datagram in (forged, b"", b"short", bytes(5000)):
        kernel.inject(1, datagram, sender=4711)
    assert names(route) == NAMES


def test_F14_another_process_cannot_forge_an_acknowledgement(
    kernel: FakeKernel, route: NetlinkSocket
) -> None:
    sequence = route._sequence
    success = HEADER.pack(36, NLMSG_ERROR, 0, sequence, 0) + bytes(4) + HEADER.pack(16, 16, 0, sequence, 0)
    kernel.inject(1, success, sender=4711)
    with pytest.raises(NotFoundError):
        route.request(set_link(4000, up=True))


# -- reads that must be done again (F09, F10, F16) -------------------------------------


def test_F10_a_dump_that_was_interrupted_is_read_again(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.disturb(1)
    kernel.disturb(2)
    assert names(route) == NAMES
    assert len(kernel.sent("RTM_GETLINK")) == 3


def test_F10_a_dump_that_is_always_interrupted_is_busy(kernel: FakeKernel, route: NetlinkSocket) -> None:
    for n in range(1, 50):
        kernel.disturb(n)
    with pytest.raises(BusyError, match=r"list links.*NLM_F_DUMP_INTR") as caught:
        route.dump(list_links())
    assert caught.value.errno == errno.EAGAIN
    assert 2 < len(kernel.sent("RTM_GETLINK")) < 20


def test_F09_a_dump_of_which_parts_are_lost_is_read_again(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.lose(1)
    assert names(route) == NAMES
    assert len(kernel.sent("RTM_GETLINK")) == 2


def test_a_single_read_whose_answer_is_lost_is_done_again(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.lose(1)
    assert parse_link(route.get(get_link(name="lo"))).index == 1
    assert len(kernel.sent("RTM_GETLINK")) == 2


def test_reading_gives_up_at_last(kernel: FakeKernel, route: NetlinkSocket) -> None:
    for n in range(1, 50):
        kernel.lose(n)
    with pytest.raises(BusyError):
        route.dump(list_links())
    kernel.heal()
    for n in range(1, 50):
        kernel.lose(n)
    with pytest.raises(ProtocolError, match="lost"):
        route.get(get_link(name="lo"))
    kernel.heal()
    assert names(route) == NAMES


def test_a_change_whose_answer_is_lost_is_not_done_again(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.lose(1)
    with pytest.raises(ProtocolError, match=r"'change link 1' is unknown.*Read back"):
        route.request(set_link(1, mtu=1000))
    assert len(kernel.sent("RTM_NEWLINK")) == 1
    assert parse_link(route.get(get_link(name="lo"))).mtu == 1000


def test_F16_an_answer_that_does_not_fit_makes_the_buffer_grow(
    route: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers = [bytearray(512)]
    monkeypatch.setattr("netkit._netlink.socket._free_buffers", buffers)
    assert names(route) == NAMES
    assert len(buffers[0]) > 512


def test_F17_a_kernel_that_does_not_answer_is_a_timeout(kernel: FakeKernel, route: NetlinkSocket) -> None:
    change = set_link(1, mtu=1000, operation="be silent")
    change.flags &= ~NLM_F_ACK
    with pytest.raises(WaitTimeout, match="no answer to 'be silent'"):
        route.get(change)


# -- interrupts (F04, F05) ------------------------------------------------------------


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), MemoryError(), GeneratorExit()])
@pytest.mark.parametrize("where", ["send", "receive"])
def test_F04_an_interrupted_request_does_not_spoil_the_next(
    kernel: FakeKernel, route: NetlinkSocket, exception: BaseException, where: str
) -> None:
    for ask in (
        lambda: route.dump(list_links()),
        lambda: route.request(set_link(1, mtu=1000)),
        lambda: route.get(get_link(name="link001")),
        lambda: route.batch([set_link(1, mtu=1000), set_link(4000, up=True)]),
    ):
        kernel.interrupt(1, exception, where)  # type: ignore[arg-type]
        with pytest.raises(type(exception)):
            ask()
        assert names(route) == NAMES
        assert parse_link(route.get(get_link(name="link002"))).name == "link002"
        with pytest.raises(NotFoundError):
            route.request(set_link(4000, up=True))


def test_signals_that_return_do_not_disturb() -> None:
    """A real socket, and a signal each half millisecond: EINTR is nobody's business but Python's."""
    import socket

    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    real = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    route = NetlinkSocket(real)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while len(seen) < 50:
            assert "lo" in names(route)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        route.close()


# -- batches ----------------------------------------------------------------------------


def test_each_message_of_a_batch_has_its_own_outcome(kernel: FakeKernel, route: NetlinkSocket) -> None:
    before = kernel.sends
    outcomes = route.batch([set_link(1, mtu=1000), set_link(4000, up=True), new_link("lo", "dummy")])
    assert kernel.sends - before == 1
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NotFoundError)
    assert isinstance(outcomes[2], ExistsError)


def test_a_batch_is_split_where_its_acknowledgements_would_not_fit(
    kernel: FakeKernel, route: NetlinkSocket
) -> None:
    before = kernel.sends
    requests = [set_link(1, mtu=1000 + n) for n in range(2 * LARGEST_BATCH + 1)]
    assert route.batch(requests) == [None] * len(requests)
    assert kernel.sends - before == 3
    assert (
        max(sum(r.send == send for r in kernel.requests) for send in range(kernel.sends + 1)) == LARGEST_BATCH
    )


def test_a_batch_is_split_by_size_too(kernel: FakeKernel, route: NetlinkSocket) -> None:
    before = kernel.sends
    large = [set_link(1, alias="x" * 250) for _ in range(20)]
    for request in large:
        request.body += bytes(-len(request.body) % 4)
    large *= LARGEST_SEND // (20 * len(large[0].body)) + 1
    assert route.batch(large) == [None] * len(large)
    assert kernel.sends - before == -(-len(large) // LARGEST_BATCH)


def test_transact_is_one_send_and_raises_the_first_refusal(kernel: FakeKernel, route: NetlinkSocket) -> None:
    before = kernel.sends
    requests = [set_link(1, mtu=1000), set_link(4000, up=True), set_link(4001, mtu=9)]
    with pytest.raises(NotFoundError, match="change link 4000"):
        route.transact(requests)
    assert kernel.sends - before == 1


# -- words (F18) ------------------------------------------------------------------------


def test_the_kernels_words_and_attribute_are_in_the_exception(route: NetlinkSocket) -> None:
    with pytest.raises(KernelError) as caught:
        route.request(set_link(1, mtu=10, operation="set the MTU"))
    problem = caught.value
    assert (problem.errno, problem.extack, problem.attribute, problem.netns) == (
        errno.EINVAL,
        "mtu less than device minimum",
        "IFLA_MTU",
        "namespace 'host'",
    )
    assert "set the MTU" in str(problem)


def test_a_refused_dump_is_an_exception(kernel: FakeKernel, route: NetlinkSocket) -> None:
    kernel.refuse(1, errno.EPERM, "no")
    with pytest.raises(KernelError, match=r"list links.*no"):
        route.dump(list_links())
    assert names(route) == NAMES


# -- life: close, fork, threads (F11, F12, F19) -----------------------------------------


def test_F19_a_closed_socket_says_so(route: NetlinkSocket) -> None:
    route.close()
    route.close()
    assert route.closed
    assert route.fileno() == -1
    with pytest.raises(StateError, match="closed"):
        route.dump(list_links())


def test_a_child_cannot_use_its_parents_socket(kernel: FakeKernel, route: NetlinkSocket) -> None:
    def child() -> None:
        with pytest.raises(StateError):
            names(route)

    in_child(child)
    assert names(route) == NAMES


def test_threads_share_one_socket(kernel: FakeKernel, route: NetlinkSocket) -> None:
    def work(number: int) -> None:
        for mtu in range(1000, 1040):
            index = parse_link(route.get(get_link(name=NAMES[1 + number]))).index
            route.request(set_link(index, mtu=mtu))
            assert parse_link(route.get(get_link(index=index))).mtu == mtu
            assert names(route) == NAMES

    assert at_once(8, work) == []


# -- hostile bytes ------------------------------------------------------------------------

kinds = st.sampled_from([NLMSG_ERROR, NLMSG_DONE, 16, 4, 1])
headers = st.builds(HEADER.pack, st.integers(0, 80), kinds, st.integers(0, 0xFFFF), st.just(0), st.just(0))
cut_or_changed = st.binary(max_size=200) | st.builds(bytes.__add__, headers, st.binary(max_size=80))


class Replies:
    """A transport that answers whatever it is told, with the sequence number that is expected."""

    def __init__(self, datagrams: list[bytes]) -> None:
        self.datagrams = datagrams
        self.sequence = 0

    def fileno(self) -> int:
        return -1

    def close(self) -> None: ...

    def bind(self, address: tuple[int, int], /) -> None: ...

    def gettimeout(self) -> None: ...

    def setblocking(self, flag: bool, /) -> None: ...

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...

    def send(self, data: bytes, /) -> int:
        self.sequence = HEADER.unpack_from(data)[3]
        return len(data)

    def recvfrom_into(self, buffer: bytearray, size: int, flags: int, /) -> tuple[int, tuple[int, int]]:
        if not self.datagrams:
            raise BlockingIOError(errno.EAGAIN, "nothing more")
        data = bytearray(self.datagrams.pop(0))
        if len(data) >= 12:
            data[8:12] = self.sequence.to_bytes(4, "little")
        buffer[: len(data)] = data
        return len(data), (0, 0)


@given(st.lists(cut_or_changed, max_size=6), st.sampled_from(["dump", "get", "request", "batch"]))
def test_hostile_bytes_are_a_netkit_error_and_never_a_hang(datagrams: list[bytes], way: str) -> None:
    route = NetlinkSocket(Replies(list(datagrams)))
    try:
        if way == "dump":
            for reply in route.dump(list_links()):
                parse_link(reply)
        elif way == "get":
            parse_link(route.get(get_link(name="lo")))
        elif way == "request":
            route.request(set_link(1, mtu=1000))
        else:
            route.batch([set_link(1, mtu=1000), set_link(2, mtu=1000)])
    except NetkitError:
        pass  # every refusal of ours is one; anything else fails the test


@given(st.integers(0, 400), st.sampled_from(["dump", "get", "request"]))
def test_F16_an_answer_cut_anywhere_is_a_netkit_error(size: int, way: str) -> None:
    with FakeKernel() as kernel:
        netns = kernel.namespace("host")
        route = netns._live_runtime().route
        for n in range(1, 20):
            kernel.truncate(n, size)
        try:
            if way == "dump":
                assert "lo" in [parse_link(reply).name for reply in route.dump(list_links())]
            elif way == "get":
                assert parse_link(route.get(get_link(name="lo"))).name == "lo"
            else:
                route.request(set_link(1, mtu=1000))
        except NetkitError:
            pass
        kernel.heal()
        assert [parse_link(reply).name for reply in route.dump(list_links())] == ["lo"]
        netns.close()


def test_the_ack_flag_is_what_makes_a_change_wait() -> None:
    assert set_link(1, up=True).flags & NLM_F_ACK
    assert not get_link(name="lo").flags & NLM_F_ACK
    assert LARGEST_BATCH <= 300
