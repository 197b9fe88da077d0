"""Real containers, by crun and runc: in namespaces of netkit's, and with netkit in theirs."""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from netkit import Bridge, Namespace, NatRule, Scope, VethPair
from tests.harness.cgroups import VERSION_2
from tests.harness.oracle import ip, link, nft, run_in
from tests.harness.patience import LONG
from tests.harness.tools import needs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/container_runtime.md"
PROGRAM = ROOT / "docs/howto/container_runtime.py"

pytestmark = [pytest.mark.capable, needs("busybox")]

# The runtime's own files are in the session's /run.
_WRAPPER = f"""#!/bin/sh
exec unshare --mount --propagation private sh -ec '{VERSION_2}' sh {{runtime}} "$@"
"""
# An ordinary user may mount it where the cgroup namespace is his own (cgroup_init_fs_context in
# kernel/cgroup/cgroup.c), but make no directory in it unless somebody has given him one: crun is told so, and
# runc is content where no path is asked for.
_WITHOUT_CGROUPS = f"""#!/bin/sh
[ "$1" != run ] || sed -i 's/, "cgroupsPath": "[^"]*"//' "$4/config.json"
exec unshare --mount --cgroup --propagation private sh -ec '{VERSION_2}' sh {{runtime}} {{options}} "$@"
"""
_OPTIONS = {"crun": "--cgroup-manager=disabled", "runc": ""}
_HAS_CGROUPS = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


@pytest.fixture(scope="session")
def program() -> ModuleType:
    """The example, as a module."""
    spec = importlib.util.spec_from_file_location("container_runtime", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A directory of a name that nobody else has: their cgroups have it, which are the machine's."""
    own = tmp_path / uuid4().hex
    own.mkdir()
    return own


@pytest.fixture(params=[pytest.param(name, marks=needs(name)) for name in ("crun", "runc")])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A command that runs it. What it started and a failed test has left is killed."""
    command = tmp_path / request.param
    wrapper = _WRAPPER if _HAS_CGROUPS else _WITHOUT_CGROUPS
    command.write_text(wrapper.format(runtime=request.param, options=_OPTIONS[request.param]))
    command.chmod(0o755)
    yield str(command)
    for name in containers(str(command)):
        subprocess.run([command, "delete", "--force", name], check=True)


def containers(runtime: str) -> list[str]:
    """The names of those that there are."""
    done = subprocess.run([runtime, "list", "--quiet"], capture_output=True, text=True)
    never_ran = "no such file or directory" in done.stderr  # a container: runc 1.3 has no directory yet
    assert done.returncode == 0 or never_ran, done.stderr
    return done.stdout.split()


@pytest.fixture
def outside() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


def shell(runtime: str, name: str, script: str) -> str:
    """The output of a shell in a container."""
    done = subprocess.run(
        [runtime, "exec", name, "/bin/sh", "-c", script], capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interfaces(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def test_the_example_prints_what_its_page_says(runtime: str) -> None:
    command = [sys.executable, "-m", "netkit", "unshare", "--", sys.executable, "-W", "error", str(PROGRAM)]
    done = subprocess.run([*command, runtime], cwd=ROOT, capture_output=True, text=True, timeout=2 * LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"```text\n{done.stdout}```" in PAGE.read_text()
    assert "the host is as before: True" in done.stdout


def test_the_example_says_how_it_is_used() -> None:
    done = subprocess.run([sys.executable, PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "netkit unshare -- python" in done.stderr


# -- in a namespace of netkit's ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["symlink", "mount", "anonymous"])
def test_a_container_lives_in_our_namespace(
    how: str, runtime: str, program: ModuleType, host: Namespace, tmp_path: Path
) -> None:
    name = None if how == "anonymous" else "box"
    with Namespace(name, persistent=how == "mount") as box:
        pair = VethPair(
            host, box, name="v0", peer_name="eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"
        ).create()
        path = f"/proc/{os.getpid()}/fd/{box.fileno()}" if how == "anonymous" else f"/run/netns/{name}"
        assert box.path == path
        pid = program.run([runtime], tmp_path, "box", box.path)
        assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.fstat(box.fileno()).st_ino
        assert host.call(program.page, "10.0.0.2", 8080) == "this is box"
        assert "10.0.0.2/24" in shell(runtime, "box", "ip address show eth0")
        assert talk_back(runtime, "box", host, "10.0.0.1") == ("hello", "10.0.0.2")
        pair.delete()
        assert "eth0" not in shell(runtime, "box", "ip link")
        subprocess.run([runtime, "delete", "--force", "box"], check=True)
        assert box.exists  # the container ended, and not the namespace
        assert [item["ifname"] for item in ip(box, "link", "show")] == ["lo"]


def talk_back(runtime: str, name: str, ns: Namespace, address: str) -> tuple[str, str]:
    """Connect from a container to an address in a namespace: what arrives, and where it comes from."""
    with ns.socket() as listener:
        listener.settimeout(LONG)
        listener.bind((address, 9000))
        listener.listen()
        script = f"echo hello | nc {address} 9000"
        with subprocess.Popen([runtime, "exec", name, "/bin/sh", "-c", script]):
            connection, (peer, _) = listener.accept()
            with connection, connection.makefile() as text:
                return text.readline().strip(), peer


# -- in a namespace of the runtime's ----------------------------------------------------------------------


def test_netkit_attaches_a_container_that_runs(
    runtime: str, program: ModuleType, host: Namespace, outside: Namespace, tmp_path: Path
) -> None:
    """Bridge, masquerade and a published port, around a namespace that is not ours."""
    pid = program.run([runtime], tmp_path, "db", None)
    with Scope() as lab, Namespace.from_pid(pid) as box:
        lab.own(
            VethPair(
                host, outside, name="wan0", peer_name="eth0",
                address="203.0.113.1/24", peer_address="203.0.113.2/24",
            )
        )  # fmt: skip
        bridge = lab.own(Bridge(host, "ctr0", address="172.18.0.1/24"))
        pair = bridge.connect(
            box, name="v-db", peer_name="eth0", peer_address="172.18.0.3/24", default_route=True
        )
        lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
        lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="wan0"))
        published = lab.own(
            NatRule.dnat(host, daddr="203.0.113.1", proto="tcp", dport=80, to="172.18.0.3:8080", local=True)
        )
        host.links["lo"].up()
        for place in (outside, host):
            assert place.call(program.page, "203.0.113.1", 80) == "this is db"
        assert published.counters.packets == 2
        assert host.call(program.page, "172.18.0.3", 8080) == "this is db"
        assert talk_back(runtime, "db", outside, "203.0.113.2") == ("hello", "203.0.113.1")
        assert talk_back(runtime, "db", host, "172.18.0.1") == ("hello", "172.18.0.3")
        assert link(host, "v-db")["master"] == "ctr0"
        assert pair.peer.netns is box
    assert interfaces(host) == ["lo"]
    assert shell(runtime, "db", "ls /sys/class/net 2>/dev/null; ip -o link | wc -l").strip() == "1"
    assert os.path.exists(f"/proc/{pid}")  # the container is not ours


def test_a_container_that_ends_takes_its_cable_along(
    runtime: str, program: ModuleType, host: Namespace, tmp_path: Path
) -> None:
    pid = program.run([runtime], tmp_path, "db", None)
    with Bridge(host, "ctr0") as bridge:
        with Namespace.from_pid(pid) as box:
            pair = bridge.connect(box, name="v-db")
        assert pair.exists
        subprocess.run([runtime, "delete", "--force", "db"], check=True)
        # Our handles keep the namespace; the last of them goes with the pair.
        pair.delete()
        assert interfaces(host) == ["ctr0", "lo"]


# -- one process makes it, another one removes it ---------------------------------------------------------

_START = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def killed_guarded(*_):
    from netkit._system.journal import journal
    Path(sys.argv[3], "guard").write_text(str(journal.guard_pid))
    killed()
if sys.argv[4] == "killed in between":
    program.Scope.detach = killed_guarded
program.start([sys.argv[2]], Path(sys.argv[3]))
if sys.argv[4] == "killed":
    killed()
"""


@pytest.mark.parametrize("end", ["exits", "killed"])
def test_what_start_leaves_is_removed_by_stop(
    end: str, runtime: str, program: ModuleType, host: Namespace, tmp_path: Path
) -> None:
    before = host.snapshot()
    host.links["lo"].up()
    started: Any = host.run(
        [sys.executable, "-c", _START, str(PROGRAM), runtime, str(tmp_path), end], cwd=ROOT, timeout=LONG
    )
    assert started.returncode == (0 if end == "exits" else -signal.SIGKILL)
    assert interfaces(host) == ["ctr0", "lo", "v-db", "v-web"]
    assert {link(host, name)["group"] for name in ("ctr0", "v-db", "v-web")} == {"default"}
    assert {item["table"]["name"] for item in nft(host) if "table" in item} == {"netkit"}
    for name, address in (("web", "172.18.0.2"), ("db", "172.18.0.3")):
        assert host.call(program.page, address, 8080) == f"this is {name}"
    run_in(host, sys.executable, str(PROGRAM), "stop", runtime)
    assert interfaces(host) == ["lo"]
    assert nft(host) == []
    assert not Path("/run/netns/web").exists()
    assert host.snapshot() == before
    assert containers(runtime) == []


def test_what_fails_in_between_leaves_nothing(
    runtime: str, program: ModuleType, host: Namespace, tmp_path: Path
) -> None:
    """The second container cannot start: what was made for the first one goes, too."""
    before = host.snapshot()
    (tmp_path / "db").write_text("where the second bundle is to be")
    with open(tmp_path / "errors", "w+") as errors:  # no pipe: containers that are left would keep it open
        host.run([sys.executable, str(PROGRAM), "start", str(tmp_path), runtime], timeout=LONG, stderr=errors)
        errors.seek(0)
        assert "NotADirectoryError" in errors.read()
    assert host.snapshot() == before
    assert not Path("/run/netns/web").exists()
    assert containers(runtime) == []


def test_killed_in_between_it_leaves_the_containers_alone(
    runtime: str, program: ModuleType, host: Namespace, tmp_path: Path
) -> None:
    """All that netkit made is undone by its guard; what the runtime made is the runtime's."""
    before = host.snapshot()
    command = [sys.executable, "-c", _START, str(PROGRAM), runtime, str(tmp_path), "killed in between"]
    assert host.run(command, cwd=ROOT, timeout=LONG).returncode == -signal.SIGKILL
    with suppress(ProcessLookupError):  # it has ended
        guard = os.pidfd_open(int((tmp_path / "guard").read_text()))
        assert select.select([guard], [], [], LONG)[0]
        os.close(guard)
    assert interfaces(host) == ["lo"]
    assert host.snapshot() == before
    assert not Path("/run/netns/web").exists()
    assert sorted(containers(runtime)) == ["db", "web"]
    for name in containers(runtime):
        assert shell(runtime, name, "ip -o link | wc -l").strip() == "1"
