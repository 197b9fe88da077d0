"""Ways outside whose programs are not there, or fail."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkit import BackendError, CommandError, KernelError, Namespace, Outside, WaitTimeout
from netkit._outside import outside as module
from netkit._system import outside_programs
from tests.harness import processes
from tests.harness.outside import any_backend, backend, fake, helpers

__all__ = ["any_backend", "backend"]  # the fixtures

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = pytest.mark.capable


@pytest.mark.parametrize("path", ["", "/nonexistent", "."])
def test_no_program(box: Namespace, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("PATH", path)
    with pytest.raises(BackendError, match=r"`pasta` \(Debian package passt\) nor `slirp4netns` \(Debian"):
        box.connect_outside()
    with pytest.raises(BackendError, match=r'Debian package passt.*backend="slirp4netns"'):
        box.connect_outside(backend="pasta")
    assert helpers() == {}


@pytest.mark.parametrize("device", [None, "/dev/null"])
def test_no_tun_device(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, any_backend: None, tmp_path: Path, device: str | None
) -> None:
    """As in containers, where it is not there, or something else is."""
    monkeypatch.setattr(outside_programs, "TUN", device or str(tmp_path / "tun"))
    with pytest.raises(BackendError, match="in a container `--device"):
        box.connect_outside()
    assert helpers() == {}


def test_its_own_words(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(
        tmp_path,
        monkeypatch,
        "pasta",
        "echo 'Failed to send 5 bytes to syslog' >&2; echo it rains >&2; exit 3",
    )
    with pytest.raises(CommandError, match=r"exit status 3.*it rains") as caught:
        box.connect_outside()
    assert caught.value.cmd[0] == str(tmp_path / "pasta")
    assert caught.value.returncode == 3
    assert b"syslog" not in caught.value.stderr
    assert helpers() == {}


def test_words_without_end(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = (
        "i=0; while [ $i -lt 9000 ]; do echo all work and no play >&2; i=$((i+1)); done; echo end >&2; exit 1"
    )
    fake(tmp_path, monkeypatch, "pasta", script)
    with pytest.raises(CommandError, match="play\nend"):
        box.connect_outside()


def test_it_never_becomes_ready(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sleep = processes.unique_sleep()
    fake(tmp_path, monkeypatch, "pasta", f"exec /bin/{sleep}")
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    with pytest.raises(WaitTimeout, match=r"was not ready within 0\.3 s"):
        box.connect_outside()
    assert helpers() == {}
    assert processes.running(sleep) == set()


def test_it_is_no_program(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path, monkeypatch, "pasta", "")
    (tmp_path / "pasta").write_bytes(b"\x7fELF, but nothing follows")
    with pytest.raises(KernelError, match=r"start `.*pasta`"):
        box.connect_outside()
    assert helpers() == {}


def test_a_real_failure(box: Namespace, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that the program itself refuses."""
    order = module.Errand.order

    def wrong(self: Any, program: str, path: str, template: str) -> dict[str, Any]:
        made = order(self, program, path, template)
        made["argv"] = [path, "--no-such-option"]
        return made

    monkeypatch.setattr(module.Errand, "order", wrong)
    with pytest.raises(CommandError, match="no-such-option"):
        box.connect_outside(backend=backend)
    assert helpers() == {}


@pytest.mark.slow
def test_descriptors_run_out(box: Namespace, any_backend: None) -> None:
    """At each place where one is missing, nothing is left."""
    refused = 0
    for room in range(16):
        with few_descriptors(room):
            try:
                Outside(box).create().delete()
            except (KernelError, OSError):
                refused += 1
        assert helpers() == {}
        assert "tap0" not in box.links
    assert 3 < refused < 16


@contextmanager
def few_descriptors(room: int) -> Iterator[None]:
    """So many are free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + room, hard))
    taken: list[int] = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(room):
            os.close(taken.pop())
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
