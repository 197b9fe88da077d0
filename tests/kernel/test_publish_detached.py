"""Published ports by both backends that are detached and adopted, by this process and by others."""

from __future__ import annotations

import re
import socket
import sys
from typing import Any

import pytest

from netkit import ExistsError, NotFoundError
from tests.harness.packets import bound, tcp
from tests.harness.publishing import backend, guards, is_detached, ruleset
from tests.harness.two_boxes import World, sysctls, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


def test_detach_and_adopt(world: World) -> None:
    host = world.host
    mapping = host.publish(8080, to="172.18.0.2:80").create()
    staying = host.publish(8081, to="172.18.0.3:80").create()
    mapping.detach()
    assert mapping.exists
    assert mapping.reserved == ()
    with bound(world.box, "172.18.0.2", 80) as server:
        assert tcp(world.other, "172.18.0.1", 8080, server) == "172.18.0.1"
        assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
        assert mapping.counters.packets == 2
    assert is_detached(ruleset(host))
    staying.delete()
    again = host.publish(8080, to="172.18.0.2:80").adopt()
    assert not is_detached(ruleset(host))
    assert again.exists
    assert not mapping.exists
    assert again.reserved == (("tcp", 8080),)
    assert guards(ruleset(host)) == 1
    assert sysctls(host)[2] == "1"
    again.delete()
    assert ruleset(host) == ""
    assert sysctls(host)[2] == "0"
    with pytest.raises(NotFoundError, match="No such ports were detached"):
        host.publish(8080, to="172.18.0.2:80").adopt()


@pytest.mark.parametrize("reserve", [True, False])
def test_what_is_detached_has_its_ports(world: World, reserve: bool) -> None:
    """Nobody holds them bound any more, but there they lead: of two rules one would do nothing."""
    host = world.host
    staying = host.publish(9000, to="172.18.0.3:80", reserve=reserve).create()
    host.publish(8080, to=world.box, proto=["tcp", "udp"], reserve=reserve).create().detach()
    before = re.sub(r"packets \d+ bytes \d+", "", ruleset(host))
    taken: list[dict[str, Any]] = [
        {"port": 8080, "to": "172.18.0.3:80"},
        {"port": "8070-8090", "to": "172.18.0.3"},
        {"port": 8080, "to": "[fd18::3]:80", "host_ip": "::", "proto": "udp"},
        {"port": 8080, "to": world.box, "proto": ["tcp", "udp"]},
        {"port": 8080, "to": "172.18.0.3:80", "host_ip": "172.18.0.1"},
    ]
    for asked in taken:
        words = r"It is detached here, and leads to (172\.18\.0\.2|\[fd18::2\]):8080: adopt\(\)"
        with pytest.raises(ExistsError, match=words):
            host.publish(**asked, reserve=reserve).create()
    with pytest.raises(ExistsError, match="It is detached here"):
        host.publish_many({8000 + n: "172.18.0.3:80" for n in range(100)}, reserve=reserve).create()
    assert re.sub(r"packets \d+ bytes \d+", "", ruleset(host)) == before
    host.publish(8081, to="172.18.0.3:80", reserve=reserve).create().delete()
    one = {"to": "172.18.0.3:80", "host_ip": "172.18.0.1"}
    host.publish(9001, **one, reserve=reserve).create().detach()
    with pytest.raises(ExistsError, match=r"It is detached here, and leads to 172\.18\.0\.3:80"):
        host.publish("9001-9002", to="172.18.0.3", reserve=reserve).create()
    host.publish(9001, to="172.18.0.3:80", host_ip="127.0.0.1", reserve=reserve).create().delete()
    host.publish(9001, **one, reserve=reserve).adopt().delete()
    host.publish(8080, to=world.box, proto=["tcp", "udp"], reserve=reserve).adopt().delete()
    staying.delete()
    assert ruleset(host) == ""


def test_two_are_detached_and_one_is_adopted(world: World) -> None:
    host = world.host
    one = host.publish(8080, to="172.18.0.2:80").create().detach()
    two = host.publish(8081, to=(world.other, 80)).create().detach()
    one.adopt()
    assert two.exists
    assert guards(ruleset(host)) == 2
    one.delete()
    assert guards(ruleset(host)) == 1
    assert sysctls(host)[2] == "1"
    with bound(world.other, "172.18.0.3", 80) as server:
        assert tcp(world.box, "172.18.0.1", 8081, server) == "172.18.0.1"
    with pytest.raises(NotFoundError):
        host.publish(8081, to="172.18.0.2:80").adopt()  # leads elsewhere
    two.adopt().delete()
    assert ruleset(host) == ""


def test_what_somebody_has_bound_meanwhile_is_not_adopted(world: World) -> None:
    """It stays what it was, detached, and nothing of it is ours; afterwards it is adopted."""
    host = world.host
    mapping = host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).create().detach()
    before = re.sub(r"packets \d+ bytes \d+", "", ruleset(host))
    again = host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"])
    with bound(host, "0.0.0.0", 8080, socket.SOCK_DGRAM):
        for each in (mapping, again):
            with pytest.raises(ExistsError, match=r"0\.0\.0\.0:8080|\[::\]:8080"):
                each.adopt()
            assert each.reserved == ()
        assert re.sub(r"packets \d+ bytes \d+", "", ruleset(host)) == before
        assert mapping.exists
        with bound(host, "::", 8080):
            pass
    mapping.adopt().delete()
    assert ruleset(host) == ""


def test_another_process_detaches_it(world: World, backend: str) -> None:
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    program = (
        "from netkit import Namespace\n"
        "host = Namespace.current()\n"
        f"web = host.publish(8080, to='172.18.0.2:80', proto=['tcp', 'udp'], backend={backend!r})\n"
        "web.create().detach()"
    )
    world.host.run([sys.executable, "-W", "error", "-c", program], check=True)
    assert is_detached(ruleset(world.host))
    with bound(world.box, "172.18.0.2", 80) as server:
        assert tcp(world.other, "172.18.0.1", 8080, server) == "172.18.0.1"
        with world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).adopt() as mapping:
            assert mapping.counters == (0, 0)  # of elements they begin anew
            assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
            assert tcp(world.host, "::1", 8080, server) == "172.18.0.1"
    assert ruleset(world.host) == ""
