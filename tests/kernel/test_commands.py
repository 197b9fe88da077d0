"""`netkit show`, `up`, `down` and `exec`: as other processes, with another process's eyes on what they do."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netkit import Bridge, Namespace, wait_for
from netkit._cli import main
from netkit._commands import lasting
from netkit._commands.lasting import DIRECTORY, records
from tests.harness import place
from tests.harness.patience import LONG

PLAN = {
    "namespaces": {
        "client": {}, "server": {"named": "srv"},
        "gate": {"forwarding": True, "nat": [{"kind": "masquerade", "oif": "wan"}]},
    },
    "bridges": {"lan": {"address": "auto"}},
    "links": [
        {"ends": ["client", "lan"]}, {"ends": ["gate", "lan"]},
        {"ends": [{"namespace": "gate", "name": "wan"}, "server"]},
    ],
}  # fmt: skip
NAMES = ["client", "gate", "lan", "srv"]


def netkit(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "netkit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG, **options)


def done(*words: str, **options: Any) -> str:
    """The output of a command that is to succeed, and to say nothing else."""
    result = netkit(*words, **options)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "lab.json"
    file.write_text(json.dumps(PLAN))
    return file


@pytest.fixture
def lab(plan: Path) -> Iterator[Path]:
    """Up; down at the end, if the test has not done that."""
    assert done("up", str(plan)) == "lab is up: namespaces client, srv, gate, lan\n"
    yield plan
    if [each.name for each in records()]:
        done("down", "lab")


@pytest.mark.capable
def test_up_stays_and_down_takes_all_of_it(lab: Path) -> None:
    assert place.names() == NAMES
    drawn = json.loads(done("show", "--json"))
    assert sorted(drawn["namespaces"]) == sorted([*NAMES, "here"])
    assert drawn["namespaces"]["gate"]["forwards"]
    assert len(drawn["namespaces"]["gate"]["nat"]) == 1
    assert len(drawn["veths"]) == 3
    address = drawn["namespaces"]["srv"]["links"]["eth0"]["addresses"][0].partition("/")[0]
    done("exec", "client", "--", "ping", "-c", "1", "-W", "5", address)
    assert done("down", str(lab)) == "lab is down\n"
    assert place.names() == []
    assert os.listdir(DIRECTORY) == []


@pytest.mark.capable
def test_up_twice_is_refused_and_harmless(lab: Path) -> None:
    again = netkit("up", str(lab))
    assert (again.returncode, again.stdout) == (1, "")
    assert "`netkit down lab`" in again.stderr
    assert place.names() == NAMES


@pytest.mark.capable
def test_up_that_fails_leaves_nothing(plan: Path) -> None:
    with Namespace("srv"):
        failed = netkit("up", str(plan))
        assert failed.returncode == 1
        assert "'srv'" in failed.stderr
        assert place.names() == ["srv"]
    assert list(records()) == []


@pytest.mark.capable
def test_down_leaves_alone_what_took_a_name(lab: Path) -> None:
    subprocess.run(["ip", "netns", "delete", "client"], check=True)
    subprocess.run(["ip", "netns", "delete", "srv"], check=True)
    with Namespace("client") as strangers:
        assert done("down") == "'client' is another namespace now: left alone\nlab is down\n"
        assert strangers.exists
        assert place.names() == ["client"]


@pytest.mark.capable
def test_down_is_overtaken_by_another_one(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one is done when this one has read what is up, and has removed nothing yet."""
    found = lasting._found

    def late(what: str | None) -> lasting.Record:
        record = found(what)
        done("down")
        return record

    monkeypatch.setattr(lasting, "_found", late)
    assert main(["down", "lab"]) == 0
    assert place.names() == []


@pytest.mark.capable
def test_down_says_who_still_runs_inside(lab: Path) -> None:
    command = [sys.executable, "-m", "netkit", "exec", "client", "--", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "cat\n", timeout=LONG)
        said = done("down", "lab")
        assert (
            f"'client' has no name any more, but lives until what runs in it ends: {process.pid} (cat)"
            in said
        )
        assert said.endswith("lab is down\n")
        assert place.names() == []
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(LONG) == 0


@pytest.mark.capable
def test_two_of_one_plan_are_told_apart(lab: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"namespaces": {"alone": {}}}))
    assert json.loads(done("up", str(other), "--name", "second", "--json"))["namespaces"] == ["alone"]
    which = netkit("down")
    assert (which.returncode, which.stderr) == (1, "netkit: down what? Up are: lab, second\n")
    assert json.loads(done("down", str(other), "--json")) == {
        "name": "second", "namespaces": ["alone"], "left alone": [],
    }  # fmt: skip
    assert place.names() == NAMES


@pytest.mark.capable
def test_exec_passes_on_status_signals_and_the_terminal() -> None:
    with Namespace("box") as box:
        with Bridge(box, "br0", address="10.1.2.3/24"):
            assert "10.1.2.3/24" in done("exec", "box", "--", "ip", "address")
        assert netkit("exec", "box", "--", "sh", "-c", "exit 7").returncode == 7
        assert netkit("exec", "box", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
        assert done("exec", "box", "--", "cat", input="through\n") == "through\n"
        assert done("exec", box.path, "--", "echo", "--", "-n") == "-- -n\n"
        assert netkit("exec", "box", "--", "no-such-program").returncode == 127
        assert netkit("exec", "box", "--", "/etc/passwd").returncode == 126
        ours, theirs = pty.openpty()
        asked = netkit("exec", "box", "--", "test", "-t", "0", stdin=theirs)
        os.close(ours)
        os.close(theirs)
        assert asked.returncode == 0
        inode = os.stat(f"/proc/self/fd/{box.fileno()}").st_ino
        assert done("exec", str(os.getpid()), "--", "readlink", "/proc/self/ns/net") != f"net:[{inode}]\n"


@pytest.mark.capable
def test_show_draws_what_is_named_and_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with Namespace("red") as red, Namespace("blue") as blue:  # noqa: SIM117
        with red.connect(blue, name="eth0", peer_name="eth0", address="10.0.0.1/24"):
            text = done("show", "red", "blue", "--html", str(page))
            assert text == ("red\n└─ eth0 up   10.0.0.1/24 ── blue:eth0\nblue\n└─ eth0 up   ── red:eth0\n")
            plain = done("show", "red", env={**os.environ, "PYTHONIOENCODING": "ascii"})
            assert plain == "red\n`- eth0 up   10.0.0.1/24 -- a namespace that is not shown\n"
            assert done("show", "red", "--html", "-").startswith("<!DOCTYPE html>")
    content = page.read_text()
    assert content.count("<svg ") == 1
    ET.fromstring(content[content.index("<svg ") : content.index("</svg>") + 6])
    assert "http" not in content.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.capable
def test_a_stale_name_is_shown_as_one() -> None:
    stale = place.path("/run/netns/stale")
    stale.touch()
    try:
        assert "stale (stale: it leads to no namespace)" in done("show")
    finally:
        stale.unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nothing"], "cannot open namespace 'nothing'"),
        (["show", ""], "''"),
        (["show", "0"], "pid 0 is out of range"),
        (["show", "9" * 30], "is out of range"),
        (["show", "/etc/passwd"], "is no network namespace"),
        (["show", "/dev/null"], "is no network namespace"),
        (["show", "/proc/self/ns/uts"], "is no network namespace"),
        (["show", "x" * 300], "has 300 bytes, 255 is the most"),
        (["show", "here", "nothing"], "cannot open namespace 'nothing'"),
        (["show", "here", "--json", "--html", "-"], "both write to the standard output"),
        (["show", "here", "--html", ""], "--html '': No such file"),
        (["show", "here", "--html", "/tmp"], "--html /tmp: Is a directory"),
        (["show", "--html", "/nowhere/page.html"], "--html /nowhere/page.html: No such file"),
        (["show", "a\nb\x1b[31m"], r"'a\nb\x1b[31m'"),
        (["show", "/a\nb"], r"The path is '/a\nb'"),
        (["show", "here", "--html", "/a\nb/c"], r"--html '/a\nb/c': No such file"),
        (["exec", "a\x1b[2J", "--", "true"], r"'a\x1b[2J'"),
        (["up", "a\nb"], r"'a\nb': its name ends in none of"),
        (["up", "a\nb.json"], r"'a\nb.json': No such file"),
        (["down", "a\nb"], r"cannot take 'a\nb' down"),
        (["exec", "nothing", "--", "true"], "cannot open namespace 'nothing'"),
        (["exec", "4194304", "--", "true"], "4194304"),
        (["exec", "/etc/passwd", "--", "true"], "is no network namespace"),
        (["exec", "1" * 25, "--", "true"], "1111111"),
        (["up", "/nowhere.toml"], "/nowhere.toml: No such file"),
        (["up", "/etc/passwd"], "its name ends in none of"),
        (["up", ""], "its name ends in none of"),
        (["up", "/tmp"], "its name ends in none of"),
        (["up", "PLAN", "--name", "a/b"], "name 'a/b' contains '/'"),
        (["up", "PLAN", "--name", ""], "name '' is empty"),
        (["up", "PLAN", "--name", ".."], "name '..' begins with '.'"),
        (["up", "PLAN", "--name", "a\nb"], "contains a newline"),
        (["up", "EMPTY"], "this is no JSON"),
        (["up", "DEEP"], "this is no JSON"),
        (["up", "DIGITS"], "this is no JSON"),
        (["up", "LIST"], "[] is a list: a table is wanted"),
        (["up", "TYPO"], "namespace: there is no such key here: did you mean 'namespaces'?"),
        (["up", "WRONG"], "links[0].ends[1]"),
        (["down", "nothing"], "Nothing is up"),
        (["down", ""], "Nothing is up"),
        (["down", "../.."], "Nothing is up"),
        (["down"], "Nothing is up"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_one_line(
    words: list[str], said: str, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {
        "WRONG": json.dumps({"namespaces": {"a": {}}, "links": [{"ends": ["a", "b"]}]}),
        "TYPO": json.dumps({"namespace": {"a": {}}}),
        "EMPTY": "", "LIST": "[]", "DEEP": "[" * 100_000, "DIGITS": "9" * 5000,
    }  # fmt: skip
    files = {name: str(tmp_path / f"{name}.json") for name in contents} | {"PLAN": str(plan)}
    for name, content in contents.items():
        Path(files[name]).write_text(content)
    status = main([files.get(word, word) for word in words])
    failed = capsys.readouterr()
    assert (status, failed.out) == (1, "")
    assert said in failed.err
    assert failed.err.count("\n") == 1
    assert failed.err[:-1].isprintable()
    assert failed.err.startswith("netkit: ")
