"""Namespaces as files: opened by name, path, pid and descriptor; registered, repaired, raced for."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netkit._system import nsfs, registration, worker
from netkit._system.nsfs import Registration, identity, register_mount, register_symlink
from netkit.errors import ExistsError, KernelError, NotFoundError, SpecError, StateError
from tests.harness.stale_names import dangling, placeholder, reused

pytestmark = pytest.mark.capable

Register = Callable[[str, int], Registration]
both = pytest.mark.parametrize("register", [register_symlink, register_mount])
DIRECTORY = Path("/run/netns")


@pytest.fixture(autouse=True)
def directory() -> Iterator[None]:
    DIRECTORY.mkdir(exist_ok=True)
    yield
    left = [entry.name for entry in DIRECTORY.iterdir()]
    while subprocess.run(["umount", "-l", DIRECTORY], stderr=subprocess.DEVNULL).returncode == 0:
        pass  # the shared mount that register_mount and `ip netns add` make of the directory
    assert left == []


@pytest.fixture
def fd() -> Iterator[int]:
    made, _ = worker.create_namespace(lambda: None)
    yield made
    os.close(made)


def opened(value: str | os.PathLike[str]) -> tuple[int, int]:
    fd = nsfs.open_name_or_path(value)
    try:
        return identity(fd)
    finally:
        os.close(fd)


@both
def test_a_name_is_found_by_ip_and_by_us(register: Register, fd: int) -> None:
    name = register("red", fd)
    try:
        assert name.holds
        assert opened("red") == opened("/run/netns/red") == opened(DIRECTORY / "red") == identity(fd)
        inode = subprocess.run(
            ["ip", "netns", "exec", "red", "readlink", "/proc/self/ns/net"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert inode == f"net:[{identity(fd)[1]}]\n"
        subprocess.run(["nsenter", "--net=/run/netns/red", "true"], check=True)
    finally:
        name.remove()
    assert not name.holds
    with pytest.raises(NotFoundError, match="red"):
        opened("red")


@both
def test_a_live_name_is_taken(register: Register, fd: int) -> None:
    for first in (register_symlink, register_mount):
        name = first("red", fd)
        with pytest.raises(ExistsError, match=r"'red'.*/run/netns/red"):
            register("red", fd)
        assert opened("red") == identity(fd)
        name.remove()


@both
@pytest.mark.parametrize("leave", [dangling, reused, placeholder])
def test_a_stale_name_is_told_and_repaired(
    register: Register, leave: Callable[[Path], None], fd: int
) -> None:
    leave(DIRECTORY / "red")
    with pytest.raises(NotFoundError, match="stale"):
        opened("red")
    name = register("red", fd)
    assert opened("red") == identity(fd)
    name.remove()


@both
def test_what_is_not_stale_is_not_repaired(register: Register, fd: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    path = DIRECTORY / "red"
    for make in (
        lambda: path.write_text("precious"),
        lambda: path.symlink_to(tmp_path / "file"),
        lambda: path.symlink_to("/proc/self/ns/net"),
        lambda: os.mkfifo(path),
    ):
        make()
        before = os.lstat(path)
        with pytest.raises(ExistsError):
            register("red", fd)
        assert os.lstat(path) == before
        path.unlink()
    assert (tmp_path / "file").read_text() == "precious"


@both
def test_a_name_made_anew_by_another_is_left(register: Register, fd: int) -> None:
    name = register("red", fd)
    subprocess.run(["ip", "netns", "del", "red"], check=True)
    subprocess.run(["ip", "netns", "add", "red"], check=True)
    assert not name.holds
    name.remove()
    assert opened("red") != identity(fd)
    subprocess.run(["ip", "netns", "del", "red"], check=True)


@both
def test_a_name_taken_away_by_another_is_no_error(register: Register, fd: int) -> None:
    name = register("red", fd)
    subprocess.run(["ip", "netns", "del", "red"], check=True)
    name.remove()


def test_the_last_owner_removes_the_file_while_the_next_one_mounts(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unmounted, the file is stale for a moment: the next owner makes it anew, and it goes once more."""
    real = registration.mount
    tries: list[str] = []

    def mount(source: str, target: str, flags: int) -> None:
        if target == "/run/netns/red":
            tries.append(target)
            if len(tries) == 1:
                os.unlink(target)
        real(source, target, flags)

    monkeypatch.setattr(registration, "mount", mount)
    name = register_mount("red", fd)
    assert len(tries) == 2
    assert opened("red") == identity(fd)
    name.remove()


def test_the_next_owner_mounts_before_the_last_one_removes_the_file(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the last one has no descriptor to take the lock with; else see test_overtaken.py."""
    other, _ = worker.create_namespace(lambda: None)
    names = [register_mount("red", fd)]
    real, lock = registration.umount2, registration._LockedDirectory.__enter__

    def umount2(path: str, flags: int) -> None:
        real(path, flags)
        names.append(register_mount("red", other))

    def lock_if_needed(self: registration._LockedDirectory) -> None:
        if self._needed:
            lock(self)

    monkeypatch.setattr(registration, "umount2", umount2)
    monkeypatch.setattr(registration._LockedDirectory, "__enter__", lock_if_needed)
    names[0].remove()
    monkeypatch.undo()
    assert opened("red") == identity(other)
    names[1].remove()
    os.close(other)


def test_a_symlink_has_a_high_random_descriptor_that_goes_with_it(fd: int) -> None:
    names = [register_symlink(f"n{number}", fd) for number in range(8)]
    numbers = [int(os.readlink(name.path).rpartition("/")[2]) for name in names]
    assert all(number >= 300 and not os.get_inheritable(number) for number in numbers)
    assert numbers != list(range(numbers[0], numbers[0] + 8))
    for name in names:
        name.remove()
    assert not any(os.path.exists(f"/proc/self/fd/{number}") for number in numbers)


def test_low_limits_of_descriptors(fd: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
        name = register_symlink("red", fd)
        assert 300 <= int(os.readlink(name.path).rpartition("/")[2]) < 400
        name.remove()
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        with pytest.raises(KernelError, match="RLIMIT_NOFILE"):
            register_symlink("red", fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_mount_can_be_taken_over_by_who_holds_the_namespace(fd: int) -> None:
    subprocess.run(["ip", "netns", "add", "red"], check=True)
    red = nsfs.open_name_or_path("red")
    with pytest.raises(NotFoundError, match="does not name this"):
        nsfs.registration_of("red", fd)
    nsfs.registration_of("red", red).remove()
    assert list(DIRECTORY.iterdir()) == []
    os.close(red)
    name = register_symlink("red", fd)
    with pytest.raises(StateError, match="symlink"):
        nsfs.registration_of("red", fd)
    name.remove()


@both
@pytest.mark.parametrize("stale", [False, True])
def test_F23_of_several_processes_exactly_one_gets_a_name(register: Register, stale: bool, fd: int) -> None:
    for _ in range(15):
        if stale:
            dangling(DIRECTORY / "red")
        results = _race(4, register, fd)
        assert sorted(results) == ["exists", "exists", "exists", "won"], results


def _race(count: int, register: Register, fd: int) -> list[str]:
    """Fork, let all go at once; the winner checks that the name is its own, and removes it."""
    start_read, start_write = os.pipe()
    end_read, end_write = os.pipe()
    result_read, result_write = os.pipe()
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(start_write)
            os.close(end_write)
            word = "failed"
            try:
                os.read(start_read, 1)
                try:
                    name = register("red", fd)
                    word = "won" if name.holds else "lost"
                except ExistsError:
                    word = "exists"
                    name = None
                os.write(result_write, f"{word}\n".encode())
                os.read(end_read, 1)
                if name is not None:
                    name.remove()
            except BaseException as error:
                os.write(result_write, f"{error!r}\n".encode())
            finally:
                os._exit(0)
        children.append(pid)
    for end in (start_read, start_write, end_read, result_write):
        os.close(end)
    text = b""
    while text.count(b"\n") < count:
        text += os.read(result_read, 4096)
    os.close(end_write)
    os.close(result_read)
    for pid in children:
        os.waitpid(pid, 0)
    return text.decode().splitlines()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../tmp/x", "/tmp/x", "a\0b"])
def test_a_name_never_leads_out_of_the_directory(name: str, fd: int) -> None:
    for register in (register_symlink, register_mount):
        with pytest.raises(SpecError):
            register(name, fd)


def test_paths_that_are_no_network_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path / "empty", tmp_path / "fifo", tmp_path, Path("/dev/null")):
        with pytest.raises(SpecError, match="no network namespace"):
            opened(path)
    with pytest.raises(SpecError, match="no network namespace"):
        opened("/proc/self/ns/mnt")
    with pytest.raises(NotFoundError, match="nowhere"):
        opened(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="missing"):
        opened("missing")


def test_a_process_has_a_namespace_and_a_missing_one_has_none(fd: int) -> None:
    child = worker.fresh(fd, subprocess.Popen, ["sleep", "100"])
    try:
        found = nsfs.open_pid(child.pid)
        assert identity(found) == identity(fd)
        os.close(found)
    finally:
        child.kill()
        child.wait()
    with pytest.raises(NotFoundError, match="process"):
        nsfs.open_pid(child.pid)
    for pid in (0, -1, True, "1"):
        with pytest.raises(SpecError, match="pid"):
            nsfs.open_pid(pid)  # type: ignore[arg-type]


def test_a_descriptor_is_duplicated_and_checked(fd: int) -> None:
    duplicate = nsfs.open_descriptor(fd)
    assert duplicate != fd
    assert identity(duplicate) == identity(fd)
    assert not os.get_inheritable(duplicate)
    os.close(duplicate)
    with open("/dev/null") as null, pytest.raises(SpecError, match="no network namespace"):
        nsfs.open_descriptor(null.fileno())
    with pytest.raises(KernelError, match="EBADF"):
        nsfs.open_descriptor(10**6)
    with pytest.raises(SpecError):
        nsfs.open_descriptor(True)


def test_F26_a_directory_that_cannot_be_written_is_named(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", "/run/netns"], check=True)
    try:
        for register in (register_symlink, register_mount):
            with pytest.raises(KernelError, match=r"(?s)EROFS.*/run/netns/red"):
                register("red", fd)
    finally:
        subprocess.run(["umount", "/run/netns"], check=True)


def test_a_child_after_a_fork_forgets_a_name_without_removing_it(fd: int) -> None:
    name = register_symlink("red", fd)
    pid = os.fork()
    if pid == 0:
        name.forget()
        os._exit(0)
    os.waitpid(pid, 0)
    assert name.holds
    name.remove()


def test_the_descriptor_is_tried_from_300_on(monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
    monkeypatch.setattr(registration, "_RANDOM_FD", 10**9)
    name = register_symlink("red", fd)
    assert os.readlink(name.path).endswith("/fd/300")
    name.remove()
