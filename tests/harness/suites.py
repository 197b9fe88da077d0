"""Suites of pytest that a test writes and runs in a fresh interpreter, without any plugin but netkit's."""

from __future__ import annotations

import os
from textwrap import dedent

import pytest

QUIET = ("-q", "-p", "no:cacheprovider")


def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for a suite; what the outer run was told by the environment does not count in it."""
    for name in list(os.environ):
        if name.startswith(("PYTEST_XDIST", "PYTEST_ADDOPTS", "PYTEST_CURRENT")):
            monkeypatch.delenv(name)
    # Loading all the plugins that are installed takes longer than any of these suites.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "netkit._pytest_plugin")
    return pytester


def run(suite: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    """The outcome of a suite of one file."""
    suite.makepyfile(f"import socket, sys\nimport pytest\nimport netkit\n{dedent(text)}")
    return suite.runpytest_subprocess(*QUIET, *arguments)
