"""The pytest plugin's fixtures in suites of their own: networks, rates, delays, topologies."""

from __future__ import annotations

import pytest

from netkit import Namespace
from tests.harness.oracle import lacks
from tests.harness.suites import run


def test_the_fixtures_give_networks_that_work(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from netkit import Topology, wait_for

        def answers(netns, address):  # where the machine is too busy, a packet may get lost
            wait_for(lambda: netns.ping(address).received, timeout=300)

        def test_netns(netns):
            assert [link.name for link in netns.links] == ["lo"]
            assert netns.name is None

        def test_factory(netns_factory):
            one, two = netns_factory("web"), netns_factory("web")
            assert one is not two
            assert "'web2' of test_factory" in repr(two)

        def test_host(netns_host):
            assert netns_host.sysctl["net.ipv4.ip_forward"] == "1"

        @pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
        def test_veth(veth, address):
            near, far = veth
            answers(near.netns, address)
            assert far is veth.peer or far == veth.peer

        @pytest.mark.parametrize("family", [4, 6])
        def test_lan(lan, family):
            ann, bob = net = lan(2)
            assert len(net) == 2 and net[1] is bob
            answers(ann, net.address(bob, family))
            net.link(bob).down()
            assert ann.ping(net.address(bob, family), timeout=0.1).received == 0
            assert {port.name for port in net.bridge.ports} == {"host1", "host2"}

        @pytest.mark.parametrize("family", [4, 6])
        def test_router(router, family):
            answers(router.client, router.address("server", family))
            router.router.links["far"].down()
            assert router.client.ping(router.address("server", family), timeout=0.1).received == 0

        def test_topology(topology):
            net = topology(Topology.line(3))
            answers(net["box1"], net.address("box3"))

        @pytest.mark.parametrize("topology", [Topology.star(2)], indirect=True)
        def test_a_topology_as_parameter(topology):
            assert list(topology) == ["switch", "box1", "box2"]

        seen = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_wider_scopes(turn, module_netns, session_netns, module_lan, class_netns, netns):
            seen.append((module_netns, session_netns, class_netns, netns))
            assert seen[0][0] is module_netns and seen[0][1] is session_netns
            assert (seen[0][2] is class_netns) == (turn == 1) and (seen[0][3] is netns) == (turn == 1)
        """,
    )
    result.assert_outcomes(passed=13)


def test_a_rate_is_kept(suite: pytest.Pytester, host: Namespace) -> None:
    """2 Mbit/s: 200 kB, of which 64 may go at once, take half a second, on a busy machine too no less."""
    tbf = "tc qdisc add dev lo root tbf rate 1mbit burst 10k latency 50ms"
    if reason := lacks(host, *tbf.split()):
        pytest.skip(f"needs a kernel with CONFIG_NET_SCH_TBF: {reason}")
    result = run(
        suite,
        """
        import time

        def test_rate(wan):
            net = wan(rate="2mbit")
            udp = socket.SOCK_DGRAM
            with net.server.socket(type=udp) as sink, net.client.socket(type=udp) as source:
                sink.bind((net.server_address, 9))
                sink.settimeout(60)
                began = time.monotonic()
                for _ in range(200):
                    source.sendto(bytes(1000), (net.server_address, 9))
                    assert len(sink.recv(2000)) == 1000
                assert time.monotonic() - began > 0.5

        def test_bad_rates(wan):
            for what, bad in [
                ("rate", "fast"), ("rate", 0), ("loss", 2), ("delay", -1), ("delay", "1 week"), ("jitter", 1)
            ]:
                with pytest.raises(netkit.SpecError, match=what):
                    wan(**{what: bad})
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_delay_is_kept_or_skipped_with_the_option(suite: pytest.Pytester, host: Namespace) -> None:
    result = run(
        suite,
        """
        def test_delay(wan):
            net = wan(delay="20ms")
            assert 0.040 <= net.client.ping(net.server_address).min < 0.2
        """,
        "-rs",
    )
    if lacks(host, *"tc qdisc add dev lo root netem delay 1ms".split()):
        result.assert_outcomes(skipped=1)
        result.stdout.fnmatch_lines(
            ["SKIPPED*test_*.py:*netem is missing here: *CONFIG_NET_SCH_NETEM*sch_netem*"]
        )
    else:
        result.assert_outcomes(passed=1)


def test_a_topology_that_is_wrong_says_where(suite: pytest.Pytester) -> None:
    suite.path.joinpath("typo.toml").write_text("[namespces]\n")
    suite.path.joinpath("syntax.toml").write_text("[namespaces\n")
    suite.path.joinpath("link.json").write_text('{"namespaces": {"a": {}}, "links": [{"ends": ["a", "b"]}]}')
    result = run(
        suite,
        """
        @pytest.mark.parametrize("plan", ["lab.toml", "typo.toml", "syntax.toml", "link.json", 7])
        def test_it(topology, plan):
            topology(plan)
        """,
    )
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines(
        [
            "*NotFoundError*lab.toml*",
            "*SpecError: *typo.toml: *namespces*did you mean 'namespaces'*",
            "*SpecError: *syntax.toml: *line 1*",
            "*SpecError: *link.json: links[[]0].ends[[]1]*'b'*",
            "*SpecError: topology() takes a Topology or a file's path, not an int*",
        ]
    )
