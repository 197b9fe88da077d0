"""The pytest plugin in suites of their own: each test writes one and runs it in a fresh interpreter."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from netkit._system import mode
from tests.harness.suites import QUIET, run
from tests.harness.tools import needs

ROOTLESS = mode.decide()[0]


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


def test_a_rate_is_kept(suite: pytest.Pytester) -> None:
    """2 Mbit/s: 200 kB, of which 64 may go at once, take half a second, on a busy machine too no less."""
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
        "-rs",
    )
    if "tbf is missing" in result.stdout.str():
        pytest.skip("CONFIG_NET_SCH_TBF is missing in this kernel")
    result.assert_outcomes(passed=2)


def test_a_delay_is_kept_or_skipped_with_the_option(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_delay(wan):
            net = wan(delay="20ms")
            assert 0.040 <= net.client.ping(net.server_address).min < 0.2
        """,
        "-rs",
    )
    outcomes = result.parseoutcomes()
    if "skipped" in outcomes:
        result.stdout.fnmatch_lines(
            ["SKIPPED*test_*.py:*netem is missing here: *CONFIG_NET_SCH_NETEM*sch_netem*"]
        )
    else:
        assert outcomes == {"passed": 1}


REQUIRING = """
    @pytest.mark.netkit(requires=["veth", "nftables", "command:sh"])
    def test_met(): pass

    @pytest.mark.netkit(requires=["root"])
    def test_root(): pass

    @pytest.mark.netkit(requires="rootless")
    def test_rootless(): pass

    @pytest.mark.netkit(requires=["command:no-such-command"])
    def test_command(): pass
"""


def test_what_is_required_is_there_or_the_test_is_skipped(suite: pytest.Pytester) -> None:
    result = run(suite, REQUIRING, "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    other = "root is missing here: *run pytest as root*" if ROOTLESS else "this is not without root: *"
    result.stdout.fnmatch_lines_random(
        [f"SKIPPED*{other}", "SKIPPED*'no-such-command' is missing here: install it"]
    )


def test_strict_makes_them_failures(suite: pytest.Pytester) -> None:
    result = run(suite, REQUIRING, "--netkit-strict")
    result.assert_outcomes(passed=2, errors=2)


def test_a_marker_that_is_wrong_says_so(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        @pytest.mark.netkit(requires=["vxlann"])
        def test_typo(): pass

        @pytest.mark.netkit(requires=["frob"])
        def test_unknown(): pass

        @pytest.mark.netkit(require=["vxlan"])
        def test_keyword(): pass

        @pytest.mark.netkit("vxlan")
        def test_argument(): pass

        @pytest.mark.netkit(requires=7)
        def test_number(): pass
        """,
    )
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines_random(
        [
            "*'vxlann'* is unknown: did you mean 'vxlan'?",
            "*'frob'* is unknown: known are *bridge*root*",
            "*test_keyword has the keyword 'require': it takes requires=*",
            "*test_argument has the argument 'vxlan': *",
            "requires=7: give a list of texts*",
        ]
    )


ISOLATED = """
    import unittest

    def names():
        return [name for _, name in socket.if_nameindex()]

    @pytest.mark.netkit(isolate=True)
    def test_marked():
        assert names() == ["lo"]
        with socket.create_server(("127.0.0.1", 80)) as server:
            socket.create_connection(server.getsockname()).close()

    @pytest.mark.netkit(isolate=True)
    def test_netkit_works_inside(tmp_path):
        here = netkit.Namespace.current()
        with netkit.Namespace() as ns, netkit.VethPair(here, ns, name="a", peer_name="b"):
            assert sorted(names()) == ["a", "lo"]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.netkit(isolate=True)
    def test_each_has_its_own():
        socket.create_server(("127.0.0.1", 80)).close()
        assert names() == ["lo"]

    @pytest.mark.netkit(isolate=True)
    def test_that_fails():
        assert names() == ["eth7"]

    class TestOld(unittest.TestCase):
        @pytest.mark.netkit(isolate=True)
        def test_old(self):
            self.assertEqual(names(), ["lo"])
"""


def test_a_body_runs_inside_a_namespace_of_its_own(suite: pytest.Pytester) -> None:
    result = run(suite, ISOLATED)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: assert *'lo'* == *'eth7'*"])


def test_a_body_that_is_skipped_in_a_process_of_its_own(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mode.VARIABLE, "1")
    result = run(
        suite,
        """
        @pytest.mark.netkit(isolate=True)
        def test_it():
            pytest.skip("not today")
        """,
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1] *: not today"])


def test_all_bodies_do_with_the_option(suite: pytest.Pytester) -> None:
    here = sorted(os.listdir("/sys/class/net"))
    result = run(
        suite,
        f"""
        def test_it():
            assert [name for _, name in socket.if_nameindex()] == ["lo"]

        @pytest.mark.skipif({here == ["lo"]}, reason="nothing to tell them apart by")
        def test_it_again():
            assert sorted(name for _, name in socket.if_nameindex()) != {here}
        """,
        "--netkit-isolate",
    )
    result.assert_outcomes(passed=1 if here == ["lo"] else 2, skipped=int(here == ["lo"]))


def test_the_report_of_a_failure_shows_the_networks(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_that_fails(lan, module_netns, netns):
            ann, bob = net = lan(2)
            ann.routes.add("10.99.0.0/16", via=net.address(bob))
            server = ann.popen([sys.executable, "-m", "http.server", "80"], stdout=-1, stderr=-1)
            server.wait_listening(80, timeout=300)
            bob.popen(["sh", "-c", "echo my last words; exit 4"], stdout=-1).wait()
            assert net is None

        def test_without_a_network():
            assert False
        """,
    )
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "*netkit: namespace module_netns*",
            "*netkit: namespace host1*",
            "addresses:",
            "  eth0 * scope global",
            "  10.99.0.0/16 via *",
            "sockets:",
            "  tcp listening   0.0.0.0:80 *",
            "programs:",
            "*http.server 80: runs",
            "*netkit: namespace host2*",
            "*echo my last words; exit 4: ended with 4",
            "    stdout: my last words",
            "*netkit: picture*",
            "*eth0 up   10.*lan:host1",
            "*netkit: files*",
        ]
    )
    assert text.count("netkit: files") == 1
    assert "table local" not in text
    directory = Path(text.split("netkit: files", 1)[1].splitlines()[1])
    assert sorted(path.name for path in directory.glob("*.txt")) == [
        "host1.txt",
        "host2.txt",
        "lan.txt",
        "module_netns.txt",
        "netns.txt",
    ]
    assert (directory / "picture.svg").read_text().startswith("<svg")
    assert "table local" in (directory / "host1.txt").read_text()


def test_the_packets_of_a_failure_are_kept(suite: pytest.Pytester) -> None:
    text = """
        def test_that_fails(lan):
            ann, bob = net = lan(2)
            ann.ping(net.address(bob))
            assert False

        def test_that_passes(veth):
            veth.link.netns.ping("192.0.2.2")
    """
    result = run(suite, text, "--netkit-capture")
    result.assert_outcomes(passed=1, failed=1)
    directory = Path(result.stdout.str().split("netkit: files", 1)[1].splitlines()[1])
    assert sorted(path.name for path in directory.glob("*.pcapng")) == [
        "host1.pcapng",
        "host2.pcapng",
        "lan.pcapng",
    ]
    assert "could not be written" not in result.stdout.str()
    command = ["tcpdump", "-n", "-r", directory / "host1.pcapng", "icmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.findall(r"ICMP echo (\w+)", done.stdout) == ["request", "reply"]


def test_a_report_that_cannot_be_saved_says_so(suite: pytest.Pytester) -> None:
    """tmp_path is read-only, or something is in the way there."""
    result = run(
        suite,
        """
        import os, subprocess

        @pytest.fixture
        def read_only(tmp_path):
            if os.geteuid() != 0:
                tmp_path.chmod(0o500)
                yield
                tmp_path.chmod(0o700)
                return
            subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path], check=True)
            yield
            subprocess.run(["umount", tmp_path], check=True)

        def test_that_fails(netns, read_only):
            assert False

        def test_that_fails_too(netns, tmp_path):
            (tmp_path / "netkit").write_text("in the way")
            assert False
        """,
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "the files could not be written: *Read-only file system*/netkit'"
            if os.geteuid() == 0
            else "the files could not be written: *Permission denied*/netkit'",
            "the files could not be written: *File exists*/netkit'",
        ]
    )


@needs("tshark")
@pytest.mark.capable
def test_on_a_full_disk_all_that_fits_is_saved(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import subprocess

        @pytest.fixture
        def small(tmp_path):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
            yield
            for path in sorted(tmp_path.glob("netkit/*.pcapng")):
                command = ["env", f"HOME={tmp_path}", "tshark", "-r", path]
                done = subprocess.run(command, capture_output=True, text=True)
                print(path.name, "status", done.returncode, len(done.stdout.splitlines()) > 20, done.stderr)
            print(len(list(tmp_path.glob("netkit/*.txt"))), "texts")
            subprocess.run(["umount", tmp_path], check=True)

        def test_that_fails(small, veth):
            with veth.link.netns.socket(type=socket.SOCK_DGRAM) as source:
                for _ in range(200):
                    source.sendto(bytes(1000), ("192.0.2.2", 9))
            assert False
        """,
        "--netkit-capture",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "near.pcapng could not be written: *No space left on device; the packets before are in it: *",
            "near.pcapng status 0 True *",
            "2 texts",
        ]
    )


def test_one_that_is_used_after_its_test_says_whose_it_was(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        kept = []

        def test_one(netns):
            kept.append(netns)

        def test_two():
            with pytest.raises(netkit.StateError, match="'netns' of test_one .*deleted"):
                list(kept[0].links)

        @pytest.fixture(scope="module")
        def mixed(netns): pass

        def test_mixed(mixed): pass
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ScopeMismatch*function scoped fixture netns with a module scoped*"])


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


def test_async_tests_work_as_they_are(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import asyncio
        import pytest
        from netkit import wait_for_async

        @pytest.mark.asyncio
        async def test_asyncio(netns, veth):
            assert (await veth.link.netns.ping_async("192.0.2.2")).received == 1

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_anyio(netns, anyio_backend):
            await wait_for_async(lambda: netns.ping("127.0.0.1").received, timeout=300)
        """
    )
    result = suite.runpytest_subprocess(
        *QUIET, "-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin", "-W", "ignore"
    )
    result.assert_outcomes(passed=2)


def test_a_run_that_does_not_use_it_loads_the_plugin_only(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import re
        del sys.modules["netkit"]

        def test_it():
            loaded = {name for name in sys.modules if re.match("netkit", name)}
            assert loaded == {"netkit._pytest_plugin"}
        """,
    )
    result.assert_outcomes(passed=1)


def test_help_and_markers_tell_of_it(suite: pytest.Pytester) -> None:
    text = suite.runpytest_subprocess("--help").stdout.str()
    for option in ("--netkit-isolate", "--netkit-strict", "--netkit-capture"):
        assert option in text
    assert re.search(r"@pytest.mark.netkit\(requires=", suite.runpytest_subprocess("--markers").stdout.str())
    fixtures = suite.runpytest_subprocess("--fixtures").stdout.str()
    for name in ("netns", "netns_factory", "module_netns", "session_lan", "wan", "topology"):
        assert re.search(rf"^{name}\b.*\n    \S", fixtures, re.MULTILINE), name


def test_it_comes_with_the_package(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest finds it by itself, by the entry point."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    run(suite, "def test_it(netns): pass", "-W", "ignore").assert_outcomes(passed=1)


def test_the_sample_project_passes(suite: pytest.Pytester) -> None:
    """tests/sample_project, as its author runs it: from its own directory, without our conftest."""
    sample = Path(__file__).parents[1] / "sample_project"
    for path in sample.iterdir():
        if path.is_file() and path.name != "__init__.py":
            (suite.path / path.name).write_bytes(path.read_bytes())
    suite.runpytest_subprocess(*QUIET).assert_outcomes(passed=5)
