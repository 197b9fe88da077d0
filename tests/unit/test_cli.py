"""The command line: usage, exit status, and no traceback for what a user can cause."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netkit
from netkit import _cli
from netkit._demo import play
from netkit.errors import SpecError
from tests.harness.patience import LONG


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "netkit", *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "required: COMMAND"),
        (["play"], "invalid choice: 'play'"),
        (["demo", "--backend", "ebtables"], "invalid choice: 'ebtables'"),
        (["demo", "--back", "iptables"], "unrecognized arguments"),
        (["doctor", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_wrong_usage_is_status_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _cli.main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.startswith("usage: netkit")


def test_version() -> None:
    done = _run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"netkit {netkit.__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["doctor", "--help"]])
def test_help_tells_the_options_in_100_columns(words: list[str]) -> None:
    done = _run(*words)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 110
    for expected in {"demo": ["--backend"], "doctor": ["--json"]}.get(words[0], ["demo", "doctor"]):
        assert expected in done.stdout


def test_a_netkit_error_is_its_text_with_its_notes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(backend: str) -> int:
        problem = SpecError("a bad value")
        problem.add_note("it is still there")
        raise problem

    monkeypatch.setattr(play, "run", fail)
    assert _cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "netkit: a bad value\nnetkit: it is still there\n"


def test_a_programmer_s_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(backend: str) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(play, "run", fail)
    with pytest.raises(ZeroDivisionError):
        _cli.main(["demo"])


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(backend: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(play, "run", interrupt)
    assert _cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "netkit: interrupted\n"


def test_the_backend_reaches_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(backend: str) -> int:
        asked.append(backend)
        return 1

    monkeypatch.setattr(play, "run", run)
    assert _cli.main(["demo"]) == 1
    assert _cli.main(["demo", "--backend", "iptables"]) == 1
    assert asked == ["nftables", "iptables"]


def test_version_loads_neither_demo_nor_doctor() -> None:
    code = (
        "import sys; from netkit import _cli\n"
        "try: _cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith(('netkit._demo', 'netkit._diag'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "netkit", "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert error == ""
