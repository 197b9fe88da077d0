"""What is skipped: only for what is missing, and no command that scripts/packages does not install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netkit._system import broker, user_namespace
from tests.harness import isolation, tools

SCRIPT = (Path(__file__).parents[2] / "scripts" / "packages").read_text()


@pytest.mark.parametrize("tool", tools.PACKAGES)
def test_a_command_that_tests_look_with_is_installed(tool: str) -> None:
    looked_for = {"iptables-nft": "iptables-legacy", "ip6tables-legacy": "iptables-legacy"}.get(tool, tool)
    package = re.escape(tools.PACKAGES[tool])
    line = rf"has_command {looked_for}\b.*\|\| (?:need|want) {package}\b"
    assert re.search(line, SCRIPT), f"scripts/packages does not install {tool}"


SAID = {
    "Python": "[Errno 2] No such file or directory: '{}'",
    "a shell": "sh: 1: {}: not found",
    "ip netns exec": 'exec of "{}" failed: No such file or directory',
    "nsenter": "Command '['nsenter', '--net', '{}', 'list']' returned non-zero exit status 127.",
}


@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("missing", ["nft", "iptables-legacy"])
def test_a_test_is_skipped_for_the_command_that_it_misses(
    monkeypatch: pytest.MonkeyPatch, how: str, missing: str
) -> None:
    problem = AssertionError(SAID[how].format(missing))
    monkeypatch.setattr(tools, "MISSING", [missing, "dot"])
    end = tools.skipped_for_a_missing_tool(problem)
    assert isinstance(end, pytest.skip.Exception)
    assert str(end) == f"needs Debian's {tools.PACKAGES[missing]} ({missing} not found)"
    for others in ([], ["dot"], ["ip6tables-legacy"]):
        monkeypatch.setattr(tools, "MISSING", others)
        assert tools.skipped_for_a_missing_tool(problem) is problem


OUTSIDE = "there is no way outside: neither `pasta` (Debian package passt) nor `slirp4netns` (Debian package "
OUTSIDE += "slirp4netns) is in PATH; install one of the two"
FAILURES = {
    "another command that fails": "nft: status 127",
    "a way outside without its program": OUTSIDE,
    "a way outside without a device": "there is no way outside: pasta and slirp4netns need /dev/net/tun",
    "a device of ours": "ip tuntap add tap0 mode tap: status 1\n  open: Permission denied",
    "a library that is there": "cannot compile a filter. libpcap is not installed (Debian package ...)",
    "a module that is there": "No module named 'iptc'",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_other_failure_is_a_skip(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    monkeypatch.setattr(tools, "MISSING", ["dot", "tshark"])
    monkeypatch.setattr(tools, "HAS_IPTC", True)
    monkeypatch.setattr(tools, "has_libpcap", lambda: True)
    monkeypatch.setattr(tools, "may_open_tun", lambda: True)
    problem = AssertionError(FAILURES[failure])
    assert tools.skipped_for_a_missing_tool(problem) is problem


def test_libraries_and_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "MISSING", ["pasta", "slirp4netns"])
    monkeypatch.setattr(tools, "HAS_IPTC", False)
    monkeypatch.setattr(tools, "has_libpcap", lambda: False)
    monkeypatch.setattr(tools, "may_open_tun", lambda: False)
    for failure in FAILURES.keys() - {"another command that fails"}:
        end = tools.skipped_for_a_missing_tool(AssertionError(FAILURES[failure]))
        assert isinstance(end, pytest.skip.Exception), failure


def test_a_command_without_a_package_is_no_reason() -> None:
    with pytest.raises(KeyError):
        tools.needs("tool-of-nobody")


@pytest.mark.parametrize("capable", [True, False])
def test_a_session_without_namespaces(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    """Its kernel tests are skipped if nobody can make any here; if netkit alone cannot, it fails."""
    monkeypatch.delenv("NETKIT_ROOTLESS", raising=False)

    def refuse() -> None:
        raise PermissionError("by whom?")

    monkeypatch.setattr(user_namespace, "may_make_namespaces", lambda: capable)
    monkeypatch.setattr(user_namespace, "isolate", refuse)
    monkeypatch.setattr(broker, "broker", refuse)
    twin = "BY_ROOT" if capable else "BY_OTHERS"
    monkeypatch.setattr(isolation, twin, ["false"])
    assert isolation.isolate_session() == "no namespaces of our own for this user: by whom?"
    monkeypatch.setattr(isolation, twin, ["true"])
    with pytest.raises(PermissionError, match=r"by whom\?"):
        isolation.isolate_session()
