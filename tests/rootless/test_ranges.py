"""Subordinate ids: where the system gives a user a range, servers that drop their privileges work inside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netkit._system import id_maps
from tests.harness.ordinary import NOBODY, PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.rootless.programs import START

# The files are other ones for the program alone. setpriv makes it his, as a login does.
GIVE_IDS = """
mount --bind "$1" /etc/subuid
mount --bind "$1" /etc/subgid
shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"
"""
WithIds = Callable[[list[str]], str]


@pytest.fixture
def with_ids(nobody: Ordinary, tmp_path: Path) -> WithIds:
    """Runs a program of his as if the system had given him ids; its output."""
    if os.geteuid():
        pytest.skip("mount(2) over /etc/subuid, which gives him ids, takes root")
    ids = tmp_path / "ids"
    ids.write_text("nobody:100000:65536\n")
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", GIVE_IDS, "sh", str(ids)]

    def run(argv: list[str]) -> str:
        environment = {"HOME": str(nobody.home), "PYTHONPATH": str(nobody.home), "PATH": "/usr/bin:/usr/sbin"}
        done = subprocess.run(
            [*private, *argv], env=environment, cwd=nobody.home, capture_output=True, text=True, timeout=LONG
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("daemon:100000:65536\n", None),
        ("nobody:100000:65536\n", (100000, 65536)),
        ("65534:200000:1000\nnobody:300000:65536\nnobody:5:1\n", (300000, 65536)),
        ("# a comment\nnobody:x:65536\nnobody:1\nnobody:7:0\nnobody:-7:5\n", None),
    ],
)
def test_subordinate_ids(text: str, found: tuple[int, int] | None) -> None:
    assert id_maps.subordinate_ids(text, NOBODY) == found


@needs("newuidmap", "setpriv")
def test_a_program_of_its_own_has_other_users(with_ids: WithIds) -> None:
    script = (
        "cat /proc/self/uid_map /proc/self/gid_map; touch it; chown 33:33 it; stat -c %u:%g it; rm it;"
        "setpriv --reuid=33 --regid=33 --clear-groups id -u"
    )
    output = with_ids([PYTHON, "-m", "netkit", "unshare", "--", "sh", "-ec", script])
    expected = [["0", str(NOBODY), "1"], ["1", "100000", "65536"]]
    assert [line.split() for line in output.splitlines()] == [*expected, *expected, ["33:33"], ["33"]]


SERVER = """
import os, signal, socket
server = socket.create_server(("", 80))
os.setgroups([])
os.setgid(33)
os.setuid(33)
print("serves", flush=True)
taken, _ = server.accept()
taken.sendall(str(os.getresuid()).encode())
signal.pause()
"""


@needs("newuidmap", "setpriv")
def test_a_server_drops_its_privileges(with_ids: WithIds) -> None:
    """It is somebody else from then on: its end and its signals are the broker's business, who is root."""
    text = f"""
import signal
SERVER = {SERVER!r}
with Namespace() as box:
    def serve():
        process = box.popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "serves\\n"
        with box.socket() as client:
            client.connect(("127.0.0.1", 80))
            print(client.recv(100).decode())
        print(os.stat(f"/proc/{{process.pid}}").st_uid)
        return process
    with serve() as process:
        process.terminate()
        print(process.wait(60))
    with serve() as process:
        process.kill()
        print(process.wait(60))
    with serve() as process:
        box.delete()
        print(process.wait(60))
with Namespace() as box:
    other = dict(user="www-data", group="www-data", extra_groups=["mail"])
    print(box.run(["id"], **other, capture_output=True).stdout)
    open("it", "w").close()
    box.call(os.chown, "it", 33, 33)
    print(os.stat("it").st_uid, box.call(os.stat, "it").st_uid, box.call(os.remove, "it"))
"""
    lines = with_ids([PYTHON, "-W", "error", "-c", START + text]).splitlines()
    assert lines == [
        "(33, 33, 33)", "100032", "-15",
        "(33, 33, 33)", "100032", "-9",
        "(33, 33, 33)", "100032", "-9",
        "b'uid=33(www-data) gid=33(www-data) groups=33(www-data),8(mail)\\n'",
        "100032 33 None",
    ]  # fmt: skip


@pytest.mark.parametrize("keywords", ["user=33", "group=33", "extra_groups=[33]"])
def test_without_a_range_it_is_said_what_is_missing(nobody: Ordinary, keywords: str) -> None:
    text = f"""
with Namespace() as box:
    try:
        box.run(["id"], {keywords})
    except OSError as problem:
        print(problem)
"""
    told = nobody.python(START + text)
    assert told.startswith("cannot become another user: ")
    assert "/etc/subuid" in told
