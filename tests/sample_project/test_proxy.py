"""The proxy between a client and a server that cannot reach each other: three namespaces, real sockets."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from netkit import Network, Process
from netkit.testing import TopologyFactory

HERE = Path(__file__).parent


@dataclass
class Office:
    """The network, and the programs in it."""

    net: Network
    proxy: Process
    server: Process

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """What the client gets by the proxy."""
        return self.net["client"].call(fetch, self.net.address("proxy"), path)


def fetch(host: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Runs in the client's namespace."""
    connection = http.client.HTTPConnection(host, 8080, timeout=300)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


@pytest.fixture
def office(topology: TopologyFactory, tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "page.txt").write_text("the page\n")
    net = topology("office.toml")
    server = net["server"].popen(
        [sys.executable, "-m", "http.server", "80"], cwd=tmp_path, stdout=DEVNULL, stderr=PIPE
    )
    server.wait_listening(80, timeout=300)
    upstream = f"{net.address('server')}:80"
    proxy = net["proxy"].popen([sys.executable, HERE / "proxy.py", "8080", upstream], stderr=PIPE)
    proxy.wait_listening(8080, timeout=300)
    yield Office(net, proxy, server)
    for process in (proxy, server):
        process.kill()
        process.communicate()


def test_the_page_comes_through(office: Office) -> None:
    status, headers, body = office.get("/page.txt")
    assert (status, headers["Via"], body) == (200, "1.1 sample-proxy", b"the page\n")


def test_what_the_server_refuses_is_passed_on(office: Office) -> None:
    assert office.get("/nothing")[0] == 404


def test_a_dead_server_is_a_bad_gateway(office: Office) -> None:
    office.server.kill()
    office.server.wait()
    status, _, body = office.get("/page.txt")
    assert status == 502
    assert b"Connection refused" in body


def test_an_unplugged_server_is_a_bad_gateway(office: Office) -> None:
    office.net.link("proxy", "server").down()
    assert office.get("/page.txt")[0] == 502


def test_there_is_no_other_way(office: Office) -> None:
    ping = office.net["client"].ping(office.net.address("server"), timeout=0.1)
    assert ping.received == 0
