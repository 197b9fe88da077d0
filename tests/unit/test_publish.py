"""``publish=``: what follows -p of podman and docker, mappings of numbers, and what neither means."""

from __future__ import annotations

import copy
import pickle
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit import Namespace, Outside, PublishedPort, SpecError
from netkit._spec.publish import published_ports


def texts(publish: Any, host_ip: Any = "127.0.0.1") -> list[str]:
    return [str(each) for each in published_ports(publish, host_ip)]


@pytest.mark.parametrize(
    ("publish", "expected"),
    [
        ((), []),
        ({}, []),
        ({8080: 80, 8443: 443}, ["127.0.0.1:8080->80/tcp", "127.0.0.1:8443->443/tcp"]),
        (["8080:80"], ["127.0.0.1:8080->80/tcp"]),
        ("8080:80/tcp", ["127.0.0.1:8080->80/tcp"]),
        (80, ["127.0.0.1:0->80/tcp"]),
        (["80", ":81", 82], ["127.0.0.1:0->80/tcp", "127.0.0.1:0->81/tcp", "127.0.0.1:0->82/tcp"]),
        (["192.0.2.1:5353:53/udp"], ["192.0.2.1:5353->53/udp"]),
        (["0.0.0.0::53/udp"], ["0.0.0.0:0->53/udp"]),
        (["[::1]:8080:80"], ["[::1]:8080->80/tcp"]),
        (["[::]::80"], ["[::]:0->80/tcp"]),
        (["8000-8001:80-81"], ["127.0.0.1:8000->80/tcp", "127.0.0.1:8001->81/tcp"]),
        (["80-81/udp"], ["127.0.0.1:0->80/udp", "127.0.0.1:0->81/udp"]),
        (["53:53", "53:53/udp"], ["127.0.0.1:53->53/tcp", "127.0.0.1:53->53/udp"]),
        (["127.0.0.1:80:80", "127.0.0.2:80:80"], ["127.0.0.1:80->80/tcp", "127.0.0.2:80->80/tcp"]),
        (iter(["8080:80"]), ["127.0.0.1:8080->80/tcp"]),
    ],
)
def test_forms(publish: Any, expected: list[str]) -> None:
    assert texts(publish) == expected


@pytest.mark.parametrize("host_ip", ["0.0.0.0", "::1", IPv6Address("::1")])
def test_the_usual_host_address(host_ip: Any) -> None:
    one, two = published_ports(["8080:80", "127.0.0.2:8081:80"], host_ip)
    assert (str(one.host_ip), str(two.host_ip)) == (str(host_ip), "127.0.0.2")


@pytest.mark.parametrize(
    ("publish", "words"),
    [
        (True, "bool"),
        ([80.0], "float"),
        (None, "no list"),
        (object(), "no list"),
        ({"8080/udp": 53}, "a mapping is of numbers"),
        ({"80/tcp": 8080}, "a mapping is of numbers"),
        ({8080: "80"}, "a mapping is of numbers"),
        ({8080: True}, "bool"),
        ({0: 80}, "1 to 65535"),
        ([0], "1 to 65535"),
        (["0:80"], "1 to 65535"),
        (["8080:80/sctp"], "tcp or udp"),
        (["8080:80/"], "tcp or udp"),
        (["8080:"], "not a number"),
        (["a:b"], "not a number"),
        (["1:2:3"], "no IP address"),
        (["localhost:8080:80"], "no IP address"),
        (["::1:8080:80"], "in brackets"),
        (["[::1]8080:80"], "no form"),
        (["8000-8002:80-81"], "3 ports cannot lead to 2"),
        (["8001-8000:80-81"], "backwards"),
        (["8080:80", "8080:81"], "the same port"),
        (["0.0.0.0:8080:80", "127.0.0.1:8080:81"], "the same port"),
        (["1-65535"], "more than 1024"),
        (["8080:70000"], "1 to 65535"),
    ],
)
def test_what_is_meant_by_nobody(publish: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        published_ports(publish, "127.0.0.1")


def test_the_host_address_is_an_address() -> None:
    for bad in ("localhost", "127.0.0.1/8", None, True):
        with pytest.raises(SpecError, match="host_ip"):
            published_ports((), bad)


ports = st.integers(1, 65535)


@given(st.sampled_from(["tcp", "udp"]), st.ip_addresses(), ports, ports)
def test_a_text_is_read_as_it_was_meant(proto: str, host: Any, outer: int, inner: int) -> None:
    shown = f"[{host}]" if host.version == 6 else str(host)
    (found,) = published_ports([f"{shown}:{outer}:{inner}/{proto}"], "127.0.0.1")
    assert found == PublishedPort(proto, host, outer, inner)
    assert str(found) == f"{shown}:{outer}->{inner}/{proto}"
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found


@given(st.text("0123456789:-/[].abctdpu", max_size=20))
def test_any_text_is_ports_or_a_spec_error(text: str) -> None:
    try:
        found = published_ports([text], "127.0.0.1")
    except SpecError:
        return  # any other exception fails
    assert all(1 <= each.port <= 65535 and 0 <= each.host_port <= 65535 for each in found)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"name": "a" * 16}, "16 bytes"),
        ({"address": "10.0.2.100"}, "prefix length"),
        ({"address": "10.0.2.100/26"}, "8 to 25"),
        ({"address": "fd00::5/64"}, "IPv6"),
        ({"address": "10.0.2.0/24"}, "the network itself"),
        ({"address": "10.0.2.1/24"}, "reserved"),
        ({"address": "10.0.2.2/24"}, "the gateway"),
        ({"address": "10.0.2.3/24"}, "the DNS forwarder"),
        ({"address": "10.0.2.255/24"}, "the broadcast address"),
        ({"ipv6": 1}, "True or False"),
        ({"mtu": 65522}, "68 to 65521"),
        ({"mtu": 1279, "ipv6": True}, "IPv6 needs 1280"),
        ({"dns": "10.0.2.3"}, "True or False"),
        ({"default_route": None}, "True or False"),
        ({"host_loopback": 0}, "True or False"),
        ({"backend": "veth"}, "'pasta' or 'slirp4netns'"),
        ({"backend": "slirp4netns", "publish": ["[::1]:8080:80"]}, "IPv4 addresses only"),
        ({"ipv6": False, "publish": ["[::1]:8080:80"]}, "needs IPv6 inside"),
        ({"publish": ["x"]}, "not a number"),
    ],
)
def test_bad_values_are_found_before_anything_happens(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Outside(Namespace(), **keywords)


def test_what_is_no_namespace() -> None:
    with pytest.raises(SpecError, match="takes a Namespace"):
        Outside("box")  # type: ignore[arg-type]


def test_addresses_go_by_the_network() -> None:
    outside = Outside(Namespace(), address="172.30.7.9/20", dns=True)
    assert (str(outside.gateway), str(outside.dns)) == ("172.30.0.2", "172.30.0.3")
    assert Outside(Namespace(), dns=False).dns is None
