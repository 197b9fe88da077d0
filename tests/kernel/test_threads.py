"""Several threads on one namespace, and on many: right answers, nobody moved, nothing left."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from netkit import Bridge, ExistsError, Namespace, NotFoundError, Scope, StateError, VethPair
from tests.harness import place
from tests.harness.calls import at_once
from tests.harness.here import HERE, descriptors, identity
from tests.harness.oracle import ip, run_in
from tests.harness.packets import reached
from tests.harness.patience import LONG


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


@pytest.mark.parametrize("count", [8, 32])
def test_F12_reading_one_namespace(host: Namespace, count: int) -> None:
    """F12: one socket, one lock; the descriptors do not grow with the threads."""
    for number in range(10):
        run_in(host, *f"ip link add v{number} type veth peer name p{number}".split())
    expected = {item["ifname"]: item["ifindex"] for item in ip(host, "link", "show")}
    before = len(descriptors())
    most: list[int] = []

    def work(number: int) -> None:
        for turn in range(10):
            assert {item.name: item.ifindex for item in host.links} == expected
            name = f"v{(number + turn) % 10}"
            assert host.links[name].ifindex == expected[name]
            with pytest.raises(NotFoundError, match=f"nope{number}'"):
                host.links[f"nope{number}"]
            assert next(iter(host.links["lo"].addresses)) == "127.0.0.1/8"
        if number == 0:  # the listing itself takes one
            most.append(len(descriptors()))

    assert at_once(count, work) == []
    assert max(most) <= before
    assert len(descriptors()) == before


@pytest.mark.parametrize("count", [8, 32])
def test_changing_one_namespace(host: Namespace, count: int) -> None:
    def work(number: int) -> None:
        for turn in range(4):
            near, far = f"a{number}-{turn}", f"b{number}-{turn}"
            with VethPair(host, host, name=near, peer_name=far, address=f"10.{number}.{turn}.1/24") as pair:
                assert host.links[near].ifindex == pair.link.ifindex
                assert pair.link.addresses  # readable
                pair.link.set(mtu=1400 + turn)
                assert host.links[near].mtu == 1400 + turn
                host.routes.add(f"10.{100 + number}.{turn}.0/24", via=f"10.{number}.{turn}.2")

    assert at_once(count, work) == []
    assert names(host) == ["lo"]
    assert ip(host, "route", "show") == []


def test_one_name_is_made_by_one_of_them(host: Namespace) -> None:
    made: list[VethPair] = []

    def work(number: int) -> None:
        made.append(VethPair(host, host, name="same", peer_name=f"p{number}").create())

    problems = at_once(8, work)
    assert len(made) == 1
    assert [type(problem) for problem in problems] == [ExistsError] * 7
    assert "'same'" in str(problems[0])
    assert names(host) == sorted(["lo", "same", made[0].peer.name])
    made[0].delete()


def test_namespaces_made_at_once() -> None:
    before = identity(HERE)
    found: list[tuple[int, int]] = []
    go = threading.Barrier(16)

    def work(number: int) -> None:
        with Namespace(f"box{number}" if number % 2 else None) as ns:
            found.append(identity(ns.fileno()))
            go.wait(LONG)  # all of them live
            assert [item.name for item in ns.links] == ["lo"]
            assert ns.call(identity, HERE) == identity(ns.fileno())
            assert ns.run(["true"]).returncode == 0
        assert identity(HERE) == before

    assert at_once(16, work) == []
    assert len(set(found)) == 16
    assert place.names() == []


def test_whole_networks_built_at_once(host: Namespace) -> None:
    def work(number: int) -> None:
        for _ in range(2):
            with Scope() as lab:
                box = lab.own(Namespace())
                bridge = lab.own(Bridge(host, f"br{number}", address=f"10.{number}.0.1/24"))
                bridge.connect(
                    box,
                    name=f"v{number}",
                    peer_name="eth0",
                    peer_address=f"10.{number}.0.2/24",
                    default_route=True,
                )
                assert reached(box, f"10.{number}.0.1")

    assert at_once(8, work) == []
    assert names(host) == ["lo"]


def test_F29_F30_every_thread_stays_where_it_is(host: Namespace) -> None:
    """F29, F30: also the threads of a pool, also after exceptions."""
    with Namespace() as other, ThreadPoolExecutor(4) as pool:

        def work(number: int) -> tuple[int, int]:
            ns = (host, other)[number % 2]
            if number % 3 == 0:
                with pytest.raises(ZeroDivisionError):
                    ns.call(lambda: 1 / 0)
            if number % 5 == 0 and not place.refuses_to_enter(ns):
                with pytest.raises(ZeroDivisionError), ns.entered():
                    raise ZeroDivisionError
            list(ns.links)
            assert ns.call(identity, HERE) == identity(ns.fileno())
            return identity(HERE)

        assert set(pool.map(work, range(100))) == {identity(HERE)}


def test_entered_by_several_threads_at_once(host: Namespace) -> None:
    if place.refuses_to_enter(host):
        return
    with Namespace() as other:
        both = threading.Barrier(8)

        def work(number: int) -> None:
            ns = (host, other)[number % 2]
            before = identity(HERE)
            with ns.entered():
                both.wait(LONG)
                assert identity(HERE) == identity(ns.fileno())
                both.wait(LONG)
            assert identity(HERE) == before

        assert at_once(8, work) == []


def test_closed_while_others_read(host: Namespace) -> None:
    """They end with an answer or a StateError; nobody reads another namespace's answer."""
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "p0")
    answers: list[list[str]] = []
    for _ in range(5):
        handle = Namespace.from_fd(host.fileno())

        def work(number: int, handle: Namespace = handle) -> None:
            if number == 0:
                handle.close()
                return
            for _ in range(5):
                answers.append(sorted(item.name for item in handle.links))

        for problem in at_once(6, work):
            assert isinstance(problem, StateError), problem
    assert all(answer == ["lo", "p0", "v0"] for answer in answers)
    assert len(list(host.links)) == 3


def test_an_owned_one_deleted_while_others_read() -> None:
    for _ in range(10):
        ns = Namespace().create()

        def work(number: int, ns: Namespace = ns) -> None:
            if number == 0:
                ns.delete()
                return
            for _ in range(10):
                assert [item.name for item in ns.links] == ["lo"]
                ns.socket().close()

        for problem in at_once(6, work):
            assert isinstance(problem, StateError), problem


def test_deleted_by_two_threads_it_is_deleted_once(host: Namespace) -> None:
    for _ in range(5):
        pair = VethPair(host, host, name="a", peer_name="b").create()
        problems = at_once(4, lambda number, pair=pair: pair.delete())
        assert [type(problem) for problem in problems] == [StateError] * 3
    created = VethPair(host, host, name="a", peer_name="b")
    problems = at_once(4, lambda number: created.create())
    assert [type(problem) for problem in problems] == [StateError] * 3
    created.delete()
    assert names(host) == ["lo"]


def test_one_override_by_many_threads(host: Namespace) -> None:
    key = "net.ipv4.ip_forward"

    def work(number: int) -> None:
        for _ in range(5):
            with host.sysctl.override(key, 1):
                assert host.sysctl[key] == "1"

    assert at_once(8, work) == []
    assert run_in(host, "sysctl", "-n", key) == "0\n"


def test_a_block_may_end_on_another_thread(host: Namespace) -> None:
    scope = Scope().__enter__()
    scope.own(VethPair(host, host, name="a", peer_name="b"))
    thread = threading.Thread(target=scope.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert names(host) == ["lo"]


def test_the_same_resources_created_together_by_several_threads(host: Namespace) -> None:
    """One of them makes the pair; before that, each made its own over the other's index, and one was left."""
    for _ in range(5):
        pair, inner = VethPair(host, host, name="v0", peer_name="v1"), Namespace()
        with Scope() as one, Scope() as other:
            assert at_once(6, partial(_own_by_one, (one, other), (pair, inner))) == []
            assert names(host) == ["lo", "v0", "v1"]
        assert names(host) == ["lo"]
        assert not inner.exists


def _own_by_one(scopes: Sequence[Scope], resources: tuple[VethPair, Namespace], number: int) -> None:
    scopes[number % len(scopes)].own(*resources)
