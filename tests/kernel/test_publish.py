"""PortMapping by both backends: its lifecycle, and many at once.

Who reaches it: test_publish_matrix.py. What stands in nft's tables: tests/golden/test_golden_publish.py.
"""

from __future__ import annotations

import sys

import pytest

from netkit import Bridge, ExistsError, KernelError, Namespace, PortMapping, Scope, SpecError, StateError
from netkit._system import limits
from tests.harness.oracle import Events
from tests.harness.packets import bound, refused, tcp
from tests.harness.publishing import backend, left_in_the_end, ruleset, shows
from tests.harness.two_boxes import World, sysctls, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


# -- lifecycle ------------------------------------------------------------------------


def test_nothing_is_there_before_and_after(world: World) -> None:
    before = sysctls(world.host)
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"])
    assert ruleset(world.host) == ""
    assert not mapping.exists
    for _ in range(2):
        with mapping:
            assert mapping.exists
            assert mapping.counters == (0, 0)
            assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
            for proto in ("tcp", "udp"):
                assert shows(ruleset(world.host), 8080, "172.18.0.2", 80, proto)
        assert not mapping.exists
        assert ruleset(world.host) == ""
        assert sysctls(world.host) == before
        assert refused(world.host, "127.0.0.1", 8080)
    with pytest.raises(StateError, match="deleted"):
        _ = mapping.counters
    with pytest.raises(StateError):
        mapping.delete()


def test_words(world: World) -> None:
    with world.host.publish("8000-8002", to=(world.box, "80-82"), proto=["tcp", "udp"]) as mapping:
        assert [str(spec) for spec in mapping.specs] == [
            "tcp/udp 8000-8002 -> 172.18.0.2:80-82 and [fd18::2]:80-82"
        ]
        assert repr(mapping).startswith("<PortMapping tcp/udp 8000-8002 -> ")
        assert mapping.netns is world.host
        assert isinstance(mapping, PortMapping)


def test_a_range_is_mapped_one_to_one(world: World) -> None:
    with world.host.publish("9000-9002", to="172.18.0.2:100-102"):
        for step in range(3):
            with bound(world.box, "172.18.0.2", 100 + step) as server:
                assert tcp(world.other, "172.18.0.1", 9000 + step, server) == "172.18.0.1"


def test_one_goes_and_the_others_stay(world: World) -> None:
    first = world.host.publish(8080, to="172.18.0.2:80").create()
    second = world.host.publish(8081, to="172.18.0.3:80").create()
    first.delete()
    with bound(world.other, "172.18.0.3", 80) as server:
        assert tcp(world.box, "172.18.0.1", 8081, server) == "172.18.0.1"
        assert tcp(world.host, "127.0.0.1", 8081, server) == "172.18.0.1"
    assert refused(world.host, "127.0.0.1", 8080)
    second.delete()
    assert ruleset(world.host) == ""


def test_only_one_address(world: World) -> None:
    with (
        world.host.publish(8080, to="172.18.0.2:80", host_ip="127.0.0.1") as mapping,
        bound(world.box, "172.18.0.2", 80) as server,
    ):
        assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
        assert refused(world.other, "172.18.0.1", 8080)
        assert refused(world.host, "::1", 8080)
        assert mapping.reserved == (("tcp", 8080),)
        with world.host.publish(8080, to="172.18.0.3:80", host_ip="172.18.0.1"):
            assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"


def test_loopback_of_ipv6_alone(world: World) -> None:
    with (
        world.host.publish(8080, to="[fd18::2]:80", host_ip="::1") as mapping,
        bound(world.box, "fd18::2", 80) as server,
    ):
        assert tcp(world.host, "::1", 8080, server) == "fd18::1"
        assert refused(world.other, "fd18::1", 8080)
        assert mapping.exists  # though NAT has nothing to do
        assert mapping.counters == (0, 0)
        assert world.host.nat.verify() == ()


def test_a_target_for_each_family(world: World) -> None:
    with world.host.publish_many([(8080, "172.18.0.3:80"), (8080, "[fd18::2]:80")]) as mapping:
        assert mapping.reserved == (("tcp", 8080),)
        with bound(world.box, "fd18::2", 80) as server:
            assert tcp(world.other, "fd18::1", 8080, server) == "fd18::1"
        with bound(world.other, "172.18.0.3", 80) as server:
            for address in ("127.0.0.1", "::1"):
                assert tcp(world.host, address, 8080, server) == "172.18.0.1"


def test_none_at_all(world: World) -> None:
    with world.host.publish_many({}) as mapping:
        assert mapping.exists
        assert mapping.counters == (0, 0)
    assert ruleset(world.host) == ""


def test_a_link_is_a_target(world: World) -> None:
    link = world.box.links["eth0"]
    with world.host.publish(80, to=link) as mapping, bound(world.box, "172.18.0.2", 80) as server:
        assert str(mapping.specs[0]) == "tcp 80 -> 172.18.0.2:80 and [fd18::2]:80"
        assert tcp(world.other, "172.18.0.1", 80, server) == "172.18.0.1"


def test_the_namespace_ends_first(world: World) -> None:
    with Namespace() as host, Bridge(host, "br0", address="10.0.0.1/24"):
        host.publish(8080, to="10.0.0.2:80").create()

    # `leaves_nothing` looks for open sockets and the relay's thread.


def test_a_snapshot_says_what_is_published(world: World, backend: str) -> None:
    with Events(world.host) as events:
        events.wait_until_at_rest(world.host, links=3)
    before = world.host.snapshot()
    with world.host.publish(8080, to=(world.box, 80)):
        during = world.host.snapshot()
        assert [str(each) for each in during.nat] == [
            f"publish tcp 8080 -> 172.18.0.2:80 and [fd18::2]:80 ({backend})"
        ]
        assert during != before
    assert world.host.snapshot() == before


def test_it_ends_with_the_scope_that_owns_it(world: World) -> None:
    with Scope() as lab:
        mapping = lab.own(world.host.publish(8080, to="172.18.0.2:80"))
        assert mapping.exists
    assert ruleset(world.host) == ""


def test_what_fails_half_way_leaves_nothing(world: World) -> None:
    before = sysctls(world.host)
    with bound(world.host, "0.0.0.0", 8002):
        with pytest.raises(ExistsError):
            world.host.publish("8000-8004", to="172.18.0.2:80-84").create()
        assert ruleset(world.host) == ""
        assert sysctls(world.host) == before
        with bound(world.host, "0.0.0.0", 8001):
            pass
    with world.host.publish("8000-8004", to="172.18.0.2:80-84", reserve=False):
        taken = world.host.publish("7999-8000", to="172.18.0.3:80-81")
        with pytest.raises(ExistsError, match=r"tcp 8000-8004 -> 172\.18\.0\.2:80-84"):
            taken.create()
        assert not taken.exists
        assert taken.reserved == ()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_a_process_that_is_killed_leaves_nothing(world: World, backend: str) -> None:
    program = (
        "import os, sys; from netkit import Namespace\n"
        "host = Namespace.current()\n"
        f"host.publish(8080, to='172.18.0.2:80', relay=False, backend={backend!r}).create()\n"
        "os.kill(os.getpid(), 9)"
    )
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    done = world.host.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert left_in_the_end(world.host) == ""
    with bound(world.host, "0.0.0.0", 8080):
        pass


# -- many -----------------------------------------------------------------------------


def test_many_in_one_transaction(world: World) -> None:
    many = {10000 + n: f"172.18.0.{n % 200 + 2}:{n % 1000 + 1}" for n in range(5000)}
    with world.host.publish_many(many, reserve=False) as mapping:
        assert len(mapping.specs) == 5000
        assert mapping.exists
        with bound(world.box, "172.18.0.2", 201) as server:
            assert tcp(world.other, "172.18.0.1", 10200, server) == "172.18.0.1"
        with world.host.publish(8080, to="172.18.0.2:80"):
            pass
        with pytest.raises(ExistsError, match="tcp port 10007"):
            world.host.publish_many(
                [(9999, "172.18.0.2:80"), (10007, "172.18.0.2:80")], reserve=False
            ).create()
    assert ruleset(world.host) == ""


def test_F37_more_than_there_can_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventy thousand are refused at once: by the first port that there is not, or by the limit."""
    before = sysctls(world.host)
    with pytest.raises(SpecError, match="port 65536 is out of range: 1 to 65535"):
        world.host.publish_many(dict.fromkeys(range(1, 70001), "172.18.0.2:80"), reserve=False)
    monkeypatch.setattr(limits, "getrlimit", lambda which: (1000, 1000))
    words = r"reserve 2000 ports.* may have 1000 in all \(RLIMIT_NOFILE.*reserve=False needs none"
    with pytest.raises(KernelError, match=words):
        world.host.publish("8000-8999", to="172.18.0.2", proto=["tcp", "udp"]).create()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_many_with_reservation_and_targets_of_all_kinds(world: World) -> None:
    pairs = [
        (8000, world.box),
        (8001, (world.box, 80)),
        (8002, "172.18.0.3"),
        ("8003-8004", "172.18.0.3:1-2"),
    ]
    with world.host.publish_many(pairs, proto=["tcp", "udp"]) as mapping:
        assert len(mapping.reserved) == 10
        with bound(world.box, "fd18::2", 80) as server:
            assert tcp(world.other, "fd18::1", 8001, server) == "fd18::1"
