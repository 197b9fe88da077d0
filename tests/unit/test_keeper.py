"""What a keeper takes for an order, and what the programs are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit import ProtocolError
from netkit._spec.publish import published_ports
from netkit._system.broker_frames import REQUEST, Frame
from netkit._system.keeper_server import checked
from netkit._system.outside_programs import Errand, plain_words

ORDER: dict[str, Any] = {"argv": ["/usr/bin/pasta", "-f"], "ready": 1, "api": "", "asks": [], "joins": False}


def test_an_order() -> None:
    assert checked(Frame(REQUEST, 0, dict(ORDER), [5])) == ORDER
    joins = {**ORDER, "joins": True}
    assert checked(Frame(REQUEST, 0, dict(joins), [5, 6])) == joins


@pytest.mark.parametrize(
    ("change", "fds"),
    [
        ({}, []),
        ({}, [5, 6]),
        ({"joins": True}, [5]),
        ({"joins": 1}, [5, 6]),
        ({"argv": []}, [5]),
        ({"argv": [b"x"]}, [5]),
        ({"argv": "pasta"}, [5]),
        ({"ready": 0}, [5]),
        ({"ready": True}, [5]),
        ({"asks": [1]}, [5]),
        ({"api": None}, [5]),
        ({"more": 1}, [5]),
    ],
)
def test_no_order(change: dict[str, Any], fds: list[int]) -> None:
    with pytest.raises(ProtocolError):
        checked(Frame(REQUEST, 0, {**ORDER, **change}, fds))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ORDER, "x"]), inner),
    max_leaves=8,
)


@given(plain | st.fixed_dictionaries(dict.fromkeys(ORDER, plain)), st.lists(st.integers(0, 9), max_size=3))
def test_anything_is_an_order_or_a_protocol_error(value: Any, fds: list[int]) -> None:
    try:
        order = checked(Frame(REQUEST, 0, value, fds))
    except ProtocolError:
        return
    assert order["argv"]
    assert all(isinstance(word, str) for word in [*order["argv"], *order["asks"]])


def errand(**changes: Any) -> Errand:
    usual: dict[str, Any] = {
        "name": "tap0", "address": "10.0.2.100", "prefixlen": 24, "network": "10.0.2.0/24",
        "gateway": "10.0.2.2", "dns": "10.0.2.3", "mtu": 1500, "ipv6": False, "host_loopback": False,
        "published": (),
    }  # fmt: skip
    return Errand(**{**usual, **changes})


def argv(program: str, **changes: Any) -> list[str]:
    order = errand(**changes).order(program, f"/usr/bin/{program}", "eth7")
    words: Any = order["argv"]
    return list(words)


def values(words: list[str], option: str) -> Iterator[str]:
    return (words[at + 1] for at, word in enumerate(words) if word == option)


def test_pasta_is_told_all_that_it_would_take_from_outside() -> None:
    words = argv("pasta", published=published_ports(["8080:80", "[::1]:5353:53/udp"], "127.0.0.2"), ipv6=True)
    assert list(values(words, "--address")) == ["10.0.2.100", "fd00::100"]
    assert list(values(words, "--gateway")) == ["10.0.2.2", "fd00::2"]
    assert list(values(words, "--dns-forward")) == ["10.0.2.3", "fd00::3"]
    assert list(values(words, "--tcp-ports")) == ["127.0.0.2/8080:80"]
    assert list(values(words, "--udp-ports")) == ["::1/5353:53"]
    assert list(values(words, "--interface")) == ["eth7"]
    assert [*values(words, "--tcp-ns"), *values(words, "--udp-ns")] == ["none", "none"]
    assert "--no-map-gw" in words
    assert "--ipv4-only" not in words
    assert ("--runas" in words) is (os.geteuid() == 0)


def test_pasta_forwards_no_port_that_nobody_published() -> None:
    words = argv("pasta", dns=None, host_loopback=True)
    assert [*values(words, "--tcp-ports"), *values(words, "--udp-ports")] == ["none", "none"]
    assert list(values(words, "--dns")) == ["none"]
    assert "--no-map-gw" not in words
    assert "--ipv4-only" in words


def test_slirp4netns_is_asked_for_ports_when_it_runs() -> None:
    made = errand(published=published_ports(["8080:80"], "127.0.0.1")).order("slirp4netns", "/x", "lo")
    assert made["asks"] == [
        '{"execute": "add_hostfwd", "arguments": {"proto": "tcp", "host_addr": "127.0.0.1", '
        '"host_port": 8080, "guest_addr": "10.0.2.100", "guest_port": 80}}'
    ]
    assert made["api"]
    assert "--disable-host-loopback" in argv("slirp4netns")
    assert not [word for word in argv("slirp4netns") if word.startswith("--api-socket")]
    assert {"--enable-ipv6", "--disable-dns"} <= set(argv("slirp4netns", ipv6=True, dns=None))


def test_what_pasta_says_of_the_system_log_is_left_out() -> None:
    assert (
        plain_words(b"Failed to send 5 bytes to syslog\nit rains\n\nFailed to send 6 bytes\n") == b"it rains"
    )
