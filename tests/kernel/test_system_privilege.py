"""Which capability is missing, seen by processes that have dropped or gained some."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netkit._system import privilege, worker
from netkit._system.nsfs import open_current
from tests.harness.tools import needs

pytestmark = pytest.mark.capable

CODE = """
import sys, os
from netkit._system import privilege, worker
from netkit.errors import KernelError
fd = int(sys.argv[1])
names = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN")
print([privilege.missing_capability(name) for name in names])
print([privilege.missing_capability(name, fd) for name in names])
for attempt in (lambda: worker.create_namespace(int), lambda: worker.inside(fd, int)):
    try:
        made = attempt()
        print("allowed")
    except KernelError as error:
        print(type(error).__name__, "CAP_SYS_ADMIN" in str(error))
"""


def run(prefix: list[str], fd: int) -> list[str]:
    argv = [*prefix, sys.executable, "-c", CODE, str(fd)]
    done = subprocess.run(argv, pass_fds=[fd], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def fd() -> int:
    made, _ = worker.create_namespace(int)
    return made


@pytest.fixture(autouse=True)
def closed(fd: int) -> object:
    yield
    os.close(fd)


def test_here_nothing_is_missing(fd: int) -> None:
    assert {"CAP_NET_ADMIN", "CAP_SYS_ADMIN"} <= privilege.effective_capabilities()
    assert run([], fd) == ["[None, None, None]", "[None, None, None]", "allowed", "allowed"]


@needs("capsh")
def test_the_names_are_those_of_capsh() -> None:
    for number, name in enumerate(privilege.CAPABILITIES):
        mask = f"{1 << number:x}"
        decoded = subprocess.run(["capsh", f"--decode={mask}"], capture_output=True, text=True, check=True)
        assert decoded.stdout.strip().endswith(f"={name.lower()}")


@needs("setpriv")
def test_a_dropped_capability_is_missing(fd: int) -> None:
    lost = run(["setpriv", "--bounding-set=-all,+net_admin"], fd)
    assert lost == [
        "[None, 'CAP_NET_RAW', 'CAP_SYS_ADMIN']",
        "[None, 'CAP_NET_RAW', 'CAP_SYS_ADMIN']",
        "AccessError True",
        "AccessError True",
    ]


def test_capabilities_of_a_user_namespace_do_not_count_above_it(fd: int) -> None:
    lines = run(["unshare", "--user", "--map-root-user"], fd)
    assert lines == [
        "[None, None, None]",
        "['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN']",
        "allowed",
        "AccessError True",
    ]


def test_who_made_a_user_namespace_has_all_in_it() -> None:
    script = "unshare --user --map-root-user --net sh -c 'echo ready; read line'"
    child = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    inner = _youngest(child.pid)
    fd = os.open(f"/proc/{inner}/ns/net", os.O_RDONLY)
    try:
        assert privilege.missing_capability("CAP_NET_ADMIN", fd) is None
    finally:
        os.close(fd)
        child.communicate(b"\n")


def _youngest(pid: int) -> int:
    while True:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            found = children.read().split()
        if not found:
            return pid
        pid = int(found[0])


def test_what_is_no_namespace_is_not_known_to_lack_anything() -> None:
    with open("/dev/null") as null:
        assert privilege.missing_capability("CAP_NET_ADMIN", null.fileno()) is None
    current = open_current()
    assert privilege.missing_capability("CAP_NET_ADMIN", current) is None
    os.close(current)
