"""Process.wait_listening: a server that was started can be connected to, or it is said why not."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from netkit import CommandError, Namespace, SpecError, WaitTimeout
from tests.harness.patience import LONG

SERVER = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
server.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    server.listen()
sys.stdin.read()
"""


def test_it_can_be_connected_to(host: Namespace) -> None:
    with host.popen([sys.executable, "-IS", "-c", SERVER, "tcp", "0.0.0.0", "80"], stdin=-1) as server:
        assert server.wait_listening(80, timeout=LONG) is server
        with host.socket() as client:
            client.connect(("127.0.0.1", 80))
        server.communicate()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_an_address_can_be_asked_for(host: Namespace, proto: str, address: str) -> None:
    with host.popen([sys.executable, "-IS", "-c", SERVER, proto, address, "53"], stdin=-1) as server:
        server.wait_listening(53, proto=proto, address=address, timeout=LONG)
        with pytest.raises(WaitTimeout, match="does not listen at"):
            server.wait_listening(53, proto=proto, address="127.0.0.2", timeout=0)
        server.communicate()


def test_one_that_ends_before_is_an_error_with_its_words(host: Namespace) -> None:
    failing = host.popen(["sh", "-c", "echo no such page >&2; exit 3"], stderr=subprocess.PIPE)
    with pytest.raises(CommandError, match=r"status 3\. Its last error output: no such page") as caught:
        failing.wait_listening(80, timeout=LONG)
    assert caught.value.__notes__ == ["It ended before it listened at tcp port 80."]


@pytest.mark.parametrize("text", [True, False])
def test_its_words_are_told_though_a_child_of_its_own_has_the_pipe(host: Namespace, text: bool) -> None:
    script = "echo no such page >&2; sleep 1000 & exit 3"
    failing = host.popen(["sh", "-c", script], stderr=subprocess.PIPE, text=text)
    with pytest.raises(CommandError, match="Its last error output: no such page") as caught:
        failing.wait_listening(80, timeout=LONG)
    assert caught.value.stderr == ("no such page\n" if text else b"no such page\n")
    assert failing.stderr is not None
    failing.stderr.close()


def test_the_ports_that_are_listened_at_are_named(host: Namespace) -> None:
    with host.popen([sys.executable, "-IS", "-c", SERVER, "tcp", "::", "8080"], stdin=-1) as server:
        server.wait_listening(8080, timeout=LONG)
        with pytest.raises(WaitTimeout, match=r"tcp port 80 after 0\.01 s; .*: \[::\]:8080"):
            server.wait_listening(80, timeout=0.01)
        server.communicate()


def test_a_bound_socket_of_tcp_does_not_listen(host: Namespace) -> None:
    with host.socket() as bound, host.popen(["cat"], stdin=-1) as process:
        bound.bind(("127.0.0.1", 80))
        with pytest.raises(WaitTimeout, match="nobody listens"):
            process.wait_listening(80, timeout=0.01)
        bound.listen()
        process.wait_listening(80, timeout=LONG)
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"port": 0}, "port"),
        ({"port": 80, "proto": "sctp"}, "'tcp' or 'udp'"),
        ({"port": 80, "timeout": -1}, "timeout"),
        ({"port": 80, "address": "10.0.0.300"}, "address"),
    ],
)
def test_bad_input_is_told(host: Namespace, arguments: dict[str, object], words: str) -> None:
    with host.popen(["cat"], stdin=-1) as process:
        with pytest.raises(SpecError, match=words):
            process.wait_listening(**arguments)  # type: ignore[arg-type]
        process.communicate()


def test_in_another_namespace_it_is_not_seen(host: Namespace) -> None:
    with socket.socket() as elsewhere, host.popen(["cat"], stdin=-1) as process:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        with pytest.raises(WaitTimeout):
            process.wait_listening(elsewhere.getsockname()[1], timeout=0)
        process.communicate()
