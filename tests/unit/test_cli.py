"""The command line: usage, exit status, and no traceback for what a user can cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
        (["--json"], "required: COMMAND"),
        (["SHOW"], "invalid choice: 'SHOW'"),
        (["up"], "required: FILE"),
        (["up", "a.toml", "b.toml"], "unrecognized arguments: b.toml"),
        (["up", "a.toml", "--name"], "expected one argument"),
        (["down", "a", "b"], "unrecognized arguments: b"),
        (["show", "--html"], "expected one argument"),
        (["exec"], "required: NAMESPACE, COMMAND"),
        (["exec", "box"], "required: COMMAND"),
        (["exec", "--", "true"], "required: COMMAND"),
        (["unshare"], "required: COMMAND"),
        (["unshare", "--"], "required: COMMAND"),
        (["exec", "--json", "box", "--", "true"], "unrecognized arguments: --json"),
        (["unshare", "--json", "--", "true"], "unrecognized arguments: --json"),
        (["gc", "everything"], "unrecognized arguments: everything"),
        (["gc", "--dryrun"], "unrecognized arguments: --dryrun"),
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


OPTIONS = {
    "": ["--version", "demo", "doctor", "show", "up", "down", "gc", "exec", "unshare"],
    "demo": ["--backend", "--json"], "doctor": ["--json"], "show": ["NAME", "--json", "--html FILE"],
    "up": ["FILE", "--name", "--json"], "down": ["NAME|FILE", "--json"], "gc": ["--dry-run", "--json"],
    "exec": ["NAMESPACE -- COMMAND", "no --json"], "unshare": ["-- COMMAND", "no --json"],
}  # fmt: skip


@pytest.mark.parametrize("command", OPTIONS)
def test_help_tells_the_options_in_100_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        _cli.main([*command.split(), "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 110
    for expected in OPTIONS[command]:
        assert expected in told


def test_a_netkit_error_is_its_text_with_its_notes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(backend: str, as_json: bool) -> int:
        problem = SpecError("a bad value\nof two lines\x1b[31m")
        problem.add_note("it is still there")
        raise problem

    monkeypatch.setattr(play, "run", fail)
    assert _cli.main(["demo"]) == 1
    assert (
        capsys.readouterr().err == "netkit: a bad value\nof two lines\\x1b[31m\nnetkit: it is still there\n"
    )


def test_a_programmer_s_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(backend: str, as_json: bool) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(play, "run", fail)
    with pytest.raises(ZeroDivisionError):
        _cli.main(["demo"])


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(backend: str, as_json: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(play, "run", interrupt)
    assert _cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "netkit: interrupted\n"


def test_the_backend_reaches_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def run(backend: str, as_json: bool) -> int:
        asked.append((backend, as_json))
        return 1

    monkeypatch.setattr(play, "run", run)
    assert _cli.main(["demo"]) == 1
    assert _cli.main(["demo", "--backend", "iptables", "--json"]) == 1
    assert asked == [("nftables", False), ("iptables", True)]


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


COMMAND = [sys.executable, "-W", "error", "-m", "netkit"]


def _shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of sh, in which "$@" is the command."""
    environment["PYTHONUNBUFFERED"] = ""  # argparse hides a failed write of its own
    return subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND],
        capture_output=True, text=True, timeout=LONG, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("words", ["--help", "show --help", "--version", "doctor --json"])
def test_output_that_goes_nowhere_is_no_traceback(words: str) -> None:
    """Closed, a pipe that nobody reads, a full disk."""
    closed = _shell(f'"$@" {words} >&-')
    assert (closed.returncode, closed.stderr) == (0, "")
    unread = _shell(f'{{ "$@" {words}; echo $? >&2; }} | :')
    assert unread.stderr in ("0\n", "1\n")  # written before the other end closed, or not
    full = _shell(f'"$@" {words} >/dev/full')
    assert (full.returncode, full.stderr) == (1, "netkit: No space left on device\n")


def test_closed_streams_are_no_files_of_ours() -> None:
    """What is opened first would be descriptor 0, 1 or 2, and a program's output would go there."""
    done = _shell('"$@" doctor --json <&- >&- 2>&-; echo $?')
    assert done.stdout == "0\n"
    asked = (
        "import os; from netkit import _cli; _cli._have_streams();"
        "os.write(9, ' '.join(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)).encode())"
    )
    script = f'exec 9>&1; "{sys.executable}" -c "{asked}" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.stdout == "/dev/null /dev/null /dev/null"


@pytest.mark.parametrize(
    "setting",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"HOME": "/nowhere"}, {"TERM": "", "COLUMNS": "1"}],
)
@pytest.mark.parametrize("words", ["doctor", "--help"])
def test_surroundings_that_lack_something(words: str, setting: dict[str, str]) -> None:
    done = _shell(f'"$@" {words}', **setting)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    script = f'mkdir "{tmp_path}/gone"; cd "{tmp_path}/gone"; rmdir ../gone; '
    done = _shell(script + '"$@" up plan.json', PYTHONPATH=str(Path(netkit.__file__).parents[1]))
    assert (done.returncode, done.stderr) == (1, "netkit: plan.json: No such file or directory\n")


def test_ctrl_c_at_any_moment_is_no_traceback() -> None:
    """From when the command's own code runs; before, it is the interpreter that is interrupted."""
    code = (
        "import os, signal, sys; from netkit import _cli\n"
        "real = _cli.parser\n"
        "def parser(): os.kill(os.getpid(), signal.SIGINT); return real()\n"
        "_cli.parser = parser\n"
        "sys.exit(_cli.main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "netkit: interrupted\n")
