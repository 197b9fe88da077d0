"""The pytest plugin's markers and options in suites of their own: what is required, where bodies run."""

from __future__ import annotations

import os

import pytest

from netkit._system import mode
from tests.harness.suites import run

ROOTLESS = mode.decide()[0]


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
