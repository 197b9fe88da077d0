"""The pytest plugin beside others, as it is found, loaded and helped with, in suites of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.suites import QUIET, run


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
