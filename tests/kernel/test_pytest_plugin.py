"""The pytest plugin in suites of their own: each test writes one and runs it in a fresh interpreter."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from netkit._system import mode
from tests.harness import processes

ROOTLESS = mode.decide()[0]
QUIET = ("-q", "-p", "no:cacheprovider")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for a suite; what the outer run was told by the environment does not count in it."""
    for name in list(os.environ):
        if name.startswith(("PYTEST_XDIST", "PYTEST_ADDOPTS", "PYTEST_CURRENT")):
            monkeypatch.delenv(name)
    # Loading all the plugins that are installed takes longer than any of these suites.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "netkit._pytest_plugin")
    return pytester


def _run(suite: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    suite.makepyfile(f"import socket, sys\nimport pytest\nimport netkit\n{dedent(text)}")
    return suite.runpytest_subprocess(*QUIET, *arguments)


def test_the_fixtures_give_networks_that_work(suite: pytest.Pytester) -> None:
    result = _run(
        suite,
        """
        from netkit import Topology

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
            assert near.netns.ping(address).received == 1
            assert far is veth.peer or far == veth.peer

        @pytest.mark.parametrize("family", [4, 6])
        def test_lan(lan, family):
            ann, bob = net = lan(2)
            assert len(net) == 2 and net[1] is bob
            assert ann.ping(net.address(bob, family)).received == 1
            net.link(bob).down()
            assert ann.ping(net.address(bob, family), timeout=0.1).received == 0
            assert {port.name for port in net.bridge.ports} == {"host1", "host2"}

        @pytest.mark.parametrize("family", [4, 6])
        def test_router(router, family):
            assert router.client.ping(router.address("server", family)).received == 1
            router.router.links["far"].down()
            assert router.client.ping(router.address("server", family), timeout=0.1).received == 0

        def test_topology(topology):
            net = topology(Topology.line(3))
            assert net["box1"].ping(net.address("box3")).received == 1

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
    result = _run(
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
    result = _run(
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
    result = _run(suite, REQUIRING, "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    other = "root is missing here: *run pytest as root*" if ROOTLESS else "this is not without root: *"
    result.stdout.fnmatch_lines_random(
        [f"SKIPPED*{other}", "SKIPPED*'no-such-command' is missing here: install it"]
    )


def test_strict_makes_them_failures(suite: pytest.Pytester) -> None:
    result = _run(suite, REQUIRING, "--netkit-strict")
    result.assert_outcomes(passed=2, errors=2)


def test_a_marker_that_is_wrong_says_so(suite: pytest.Pytester) -> None:
    result = _run(
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
    result = _run(suite, ISOLATED)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: assert *'lo'* == *'eth7'*"])


def test_all_bodies_do_with_the_option(suite: pytest.Pytester) -> None:
    here = sorted(os.listdir("/sys/class/net"))
    result = _run(
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
    result = _run(
        suite,
        """
        def test_that_fails(lan, module_netns):
            ann, bob = net = lan(2)
            ann.routes.add("10.99.0.0/16", via=net.address(bob))
            server = ann.popen([sys.executable, "-m", "http.server", "80"], stdout=-1, stderr=-1)
            server.wait_listening(80)
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
            "*netkit: namespace netns*",
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
    result = _run(suite, text, "--netkit-capture")
    result.assert_outcomes(passed=1, failed=1)
    directory = Path(result.stdout.str().split("netkit: files", 1)[1].splitlines()[1])
    assert sorted(path.name for path in directory.glob("*.pcapng")) == [
        "host1.pcapng",
        "host2.pcapng",
        "lan.pcapng",
    ]
    command = ["tcpdump", "-n", "-r", directory / "host1.pcapng", "icmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.findall(r"ICMP echo (\w+)", done.stdout) == ["request", "reply"]


def test_a_report_that_cannot_be_saved_says_so(suite: pytest.Pytester) -> None:
    """Where tmp_path can't be written to: root is not kept out by permissions, a file in the way does it."""
    result = _run(
        suite,
        """
        def test_that_fails(netns, tmp_path):
            (tmp_path / "netkit").write_text("in the way")
            assert False
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the files could not be written: *File exists*"])


def test_what_is_left_is_told_with_its_test(suite: pytest.Pytester) -> None:
    text = """
        kept = []

        def test_careless():
            kept.append(netkit.Namespace().create())

        def test_careful(netns):
            with netkit.Namespace():
                pass
    """
    result = _run(suite, text)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*netkit: left behind*", "*::test_careless left <Namespace anonymous>"])
    assert result.stdout.str().count("::test_care") == 1
    assert result.ret == pytest.ExitCode.OK
    assert _run(suite, text, "--netkit-strict").ret == pytest.ExitCode.TESTS_FAILED
    spread = _run(suite, text, "-p", "xdist", "-n", "2")
    spread.stdout.fnmatch_lines(["*::test_careless left <Namespace anonymous>"])


def test_one_that_is_used_after_its_test_says_whose_it_was(suite: pytest.Pytester) -> None:
    result = _run(
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


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("'lab.toml'", "*NotFoundError*lab.toml*"),
        ("'typo.toml'", "*SpecError: *typo.toml: *namespces*"),
        ("7", "*SpecError: topology() takes a Topology or a file's path, not an int*"),
    ],
)
def test_a_topology_that_is_wrong_says_where(suite: pytest.Pytester, argument: str, words: str) -> None:
    suite.path.joinpath("typo.toml").write_text("[namespces]\n")
    result = _run(suite, f"def test_it(topology):\n    topology({argument})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([words])


MANY = """
    @pytest.mark.parametrize("number", range(60))
    def test_it(veth, lan, number):
        assert veth.link.netns.ping("192.0.2.2").received == 1
"""


def test_workers_do_not_clash(suite: pytest.Pytester) -> None:
    _run(suite, MANY, "-p", "xdist", "-n", "4").assert_outcomes(passed=60)


FORKED = """
import os
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol

    child = os.fork()
    if child == 0:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        os._exit(0 if all(report.passed for report in reports) else 1)
    report = pytest.TestReport.from_item_and_call(item, pytest.CallInfo.from_call(lambda: None, "call"))
    report.outcome = "failed" if os.waitpid(child, 0)[1] else "passed"
    item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


def test_forked_tests_work(suite: pytest.Pytester) -> None:
    """Each test in a child, as pytest-forked does it, which itself does not work with pytest 9.2."""
    suite.makeconftest(FORKED)
    arguments = ("-W", "ignore::DeprecationWarning")
    _run(suite, MANY.replace("60", "3"), *arguments).assert_outcomes(passed=3)
    wrong = _run(suite, MANY.replace("60", "3").replace("== 1", "== 2"), *arguments)
    wrong.assert_outcomes(failed=3)


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
            await wait_for_async(lambda: netns.ping("127.0.0.1").received)
        """
    )
    result = suite.runpytest_subprocess(
        *QUIET, "-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin", "-W", "ignore"
    )
    result.assert_outcomes(passed=2)


LATE = ("-p", "pytest_timeout", "--timeout=1", "-o", "timeout_func_only=true")


@pytest.mark.parametrize("ending", [("-x",), LATE], ids=["-x", "--timeout"])
def test_an_early_end_leaves_nothing(suite: pytest.Pytester, ending: tuple[str, ...]) -> None:
    sleep = processes.unique_sleep()
    result = _run(
        suite,
        """
        import threading

        def test_that_fails(lan, session_netns):
            (host,) = lan(1)
            host.popen("SLEEP".split())
            if "--timeout=1" in sys.argv:
                threading.Event().wait(600)
            assert False

        def test_after():
            pass
        """.replace("SLEEP", sleep),
        *ending,
    )
    assert result.parseoutcomes()["failed"] == 1
    assert not subprocess.run(["pgrep", "-f", sleep], capture_output=True).stdout


def test_ctrl_c_leaves_nothing(suite: pytest.Pytester) -> None:
    sleep = processes.unique_sleep()
    suite.makepyfile(
        """
        import os, signal, threading

        def test_that_is_interrupted(lan, session_netns):
            (host,) = lan(1)
            host.popen("SLEEP".split())
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            threading.Event().wait(600)
        """.replace("SLEEP", sleep)
    )
    result = suite.runpytest_subprocess(*QUIET)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert not subprocess.run(["pgrep", "-f", sleep], capture_output=True).stdout


def test_a_run_that_does_not_use_it_loads_the_plugin_only(suite: pytest.Pytester) -> None:
    result = _run(
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
    _run(suite, "def test_it(netns): pass", "-W", "ignore").assert_outcomes(passed=1)


def test_the_sample_project_passes(suite: pytest.Pytester) -> None:
    """tests/sample_project, as its author runs it: from its own directory, without our conftest."""
    sample = Path(__file__).parents[1] / "sample_project"
    for path in sample.iterdir():
        if path.is_file() and path.name != "__init__.py":
            (suite.path / path.name).write_bytes(path.read_bytes())
    suite.runpytest_subprocess(*QUIET).assert_outcomes(passed=5)
