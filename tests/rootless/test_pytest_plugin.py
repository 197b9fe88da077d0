"""The pytest plugin for who may not make namespaces: each use says what forbids it, and what to do."""

from __future__ import annotations

from tests.harness import counted
from tests.harness.ordinary import PYTHON, Ordinary
from tests.rootless.test_refusals import DROP

SUITE = """
import pytest

def test_fixture(netns):
    pass

@pytest.mark.netkit(isolate=True)
def test_isolated():
    pass

@pytest.mark.netkit(requires=["veth"])
def test_required():
    pass

@pytest.mark.netkit(requires=["root"])
def test_root():
    pass

def test_that_needs_none():
    pass
"""


def test_without_privileges_each_use_says_why(nobody: Ordinary) -> None:
    environment = nobody.borrow("pytest")
    (nobody.home / "test_suite.py").write_text(SUITE)
    script = f'echo 0 > /proc/sys/user/max_user_namespaces; {DROP} "$@"'
    pytest = [PYTHON, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-p", "netkit._pytest_plugin"]
    argv = [*counted.INSIDE, "sh", "-ec", script, "sh", *pytest, "-c", "/dev/null", "test_suite.py"]
    done = nobody.run(argv, env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    lines = done.stdout.splitlines()
    assert lines[-1].strip("= ").startswith("1 failed, 1 passed, 2 skipped, 1 error"), done.stdout
    reason = "cannot make a user namespace: No space left on device (ENOSPC)"
    assert any(line.startswith("E ") and reason in line for line in lines), done.stdout  # the fixture
    assert any(line.startswith(reason) for line in lines), done.stdout  # the isolated one
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    assert any(f"veth: no namespace to try it in: {reason}" in line for line in skipped), skipped
    assert any("root is missing here" in line for line in skipped), skipped
    assert done.stdout.count("user.max_user_namespaces = 0 (forbids it)") >= 3
