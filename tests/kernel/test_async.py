"""netkit inside a running event loop: the same calls, no thread of the loop's is moved."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from netkit import (
    Bridge,
    Namespace,
    NatRule,
    RouteTable,
    Scope,
    StateError,
    TeardownError,
    UnsupportedError,
    VethPair,
)
from tests.harness import place
from tests.harness.here import HERE, descriptors, identity
from tests.harness.oracle import ip, nft
from tests.harness.packets import reached
from tests.harness.patience import LONG

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """In an event loop of its own."""
    return asyncio.run(asyncio.wait_for(work, 3 * LONG))


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def test_F32_every_call_works_in_a_running_loop(host: Namespace) -> None:
    """F32: Jupyter's cells run inside a loop."""

    async def cell() -> None:
        before = identity(HERE)
        with Scope() as lab:
            box = lab.own(Namespace("box"))
            bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
            bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
            lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
            lab.own(RouteTable(host, 100)).add("10.9.0.0/16", via="10.0.0.2")
            lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
            assert box.ping("10.0.0.1").loss == 0
            assert box.run(["true"]).returncode == 0
            assert box.call(identity, HERE) == identity(box.fileno())
            assert sorted(item.name for item in box.links) == ["eth0", "lo"]
            assert identity(HERE) == before
        assert names(host) == ["lo"]

    run(cell())


def test_two_hundred_builds_at_once(host: Namespace) -> None:
    async def build(number: int) -> bool:
        async with Scope() as scope:
            box = scope.own(Namespace(f"box{number}"))
            await asyncio.sleep(0)  # the others go on here
            scope.own(
                VethPair(
                    host, box, name=f"v{number}", peer_name="eth0",
                    address=f"10.0.{number}.1/24", peer_address=f"10.0.{number}.2/24",
                )
            )  # fmt: skip
            await asyncio.sleep(0)
            assert [item.name for item in box.links if item.name != "lo"] == ["eth0"]
            return await asyncio.to_thread(reached, box, f"10.0.{number}.1")

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(build(number) for number in range(200)))

    assert run(all_of_them()) == [True] * 200
    assert names(host) == ["lo"]
    assert place.names() == []


def test_F31_tasks_that_take_turns_stay_where_they_are(host: Namespace) -> None:
    """F31: `with` does not change the thread's namespace."""
    before = identity(HERE)

    async def task(ns: Namespace, name: str) -> None:
        with ns:
            for _ in range(5):
                assert identity(HERE) == before
                with VethPair(ns, ns, name=f"{name}0", peer_name=f"{name}1"):
                    await asyncio.sleep(0)
                    assert sorted(item.name for item in ns.links) == sorted(["lo", f"{name}0", f"{name}1"])
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(task(Namespace(), "a"), task(Namespace(), "b"))

    run(both())
    assert identity(HERE) == before


@pytest.mark.parametrize("make", [Namespace, lambda: Namespace("red")])
def test_resources_are_asynchronous_context_managers(make: Any) -> None:
    async def work() -> None:
        async with make() as ns:
            assert ns.exists
            async with VethPair(ns, ns, name="a", peer_name="b"), Bridge(ns, "br0"):
                assert names(ns) == ["a", "b", "br0", "lo"]
            assert names(ns) == ["lo"]
            async with ns.sysctl.override("net.ipv4.ip_default_ttl", 99):
                assert ns.sysctl["net.ipv4.ip_default_ttl"] == "99"
        assert not ns.exists

    run(work())


def test_a_cancelled_task_leaves_nothing(host: Namespace) -> None:
    reached: list[str] = []

    async def task() -> None:
        async with Scope() as scope:
            box = scope.own(Namespace("box"))
            scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
            reached.extend(names(host))
            await asyncio.Event().wait()

    async def cancel() -> None:
        running = asyncio.create_task(task())
        while not reached:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(cancel())
    assert reached == ["lo", "v0"]
    assert names(host) == ["lo"]
    assert place.names() == []


def test_an_exception_in_the_block_and_in_a_group(host: Namespace) -> None:
    async def build(number: int) -> None:
        async with Scope() as scope:
            scope.own(VethPair(host, host, name=f"a{number}", peer_name=f"b{number}"))
            await asyncio.sleep(0)
            if number == 3:
                raise ZeroDivisionError
            await asyncio.Event().wait()  # until the group cancels it

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(build(number))

    with pytest.raises(ExceptionGroup) as caught:
        run(group())
    assert not isinstance(caught.value, TeardownError)
    assert [type(each) for each in caught.value.exceptions] == [ZeroDivisionError]
    assert names(host) == ["lo"]


def test_an_asynchronous_generator_that_is_not_finished(host: Namespace) -> None:
    """Its block ends with the loop at the latest."""

    @asynccontextmanager
    async def network() -> AsyncIterator[VethPair]:
        async with VethPair(host, host, name="a", peer_name="b") as pair:
            yield pair

    async def work() -> None:
        async with network() as pair:
            assert pair.exists
        assert names(host) == ["lo"]

    run(work())


def test_a_server_in_a_namespace_serves_one_in_another(host: Namespace) -> None:
    async def work() -> bytes:
        async with Namespace() as box, VethPair(
            host, box, name="v0", peer_name="eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"
        ):  # fmt: skip

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = writer.get_extra_info("peername")[0]
                writer.write(f"hello {peer}\n".encode())
                await writer.drain()
                writer.close()

            listening = box.socket()
            listening.bind(("10.0.0.2", 80))
            server = await asyncio.start_server(answer, sock=listening)
            client = host.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("10.0.0.2", 80))
            reader, writer = await asyncio.open_connection(sock=client)
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            return line

    assert run(work()) == b"hello 10.0.0.1\n"


def test_entered_refuses_and_says_what_to_do_instead(host: Namespace) -> None:
    refusal = UnsupportedError if place.ROOTLESS else StateError

    async def work() -> None:
        with pytest.raises(refusal, match=r"call\(\).*run\(\).*socket\(\)"), host.entered():
            pytest.fail("entered")

    run(work())
    if place.refuses_to_enter(host):
        return
    with host.entered():  # after the loop it works again
        assert identity(HERE) == identity(host.fileno())


def test_descriptors_are_flat_over_loops(host: Namespace) -> None:
    async def work() -> None:
        async with Scope() as scope:
            scope.own(VethPair(host, scope.own(Namespace()), name="v0", peer_name="eth0"))

    run(work())
    before = descriptors()
    for _ in range(20):
        run(work())
    assert descriptors() == before
    assert nft(host) == []


def test_netkit_itself_needs_no_asyncio(host: Namespace) -> None:
    code = """
import sys
from netkit import Namespace, Scope, VethPair
with Scope() as scope:
    one, two = scope.own(Namespace()), scope.own(Namespace())
    scope.own(VethPair(one, two, name="a", peer_name="b", address="10.0.0.1/24", peer_address="10.0.0.2/24"))
    assert one.ping("10.0.0.2").loss == 0
sys.exit("asyncio" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
