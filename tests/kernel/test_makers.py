"""Many namespaces made at once: each descriptor is its socket's namespace, and of a failure nothing stays."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import threading

import pytest

from netkit._system import fresh_proc, makers, syscalls, sysctl_files, worker
from netkit._system.makers import create_namespaces
from netkit._system.namespace_files import identity
from tests.harness.inside import SIOCGSKNS
from tests.harness.patience import LONG

pytestmark = pytest.mark.capable

Made = list[tuple[int, socket.socket]]
COUNT = 30  # which several threads make
DETECTION = "net/ipv6/conf/default/accept_dad"


def opened() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def spoken_to(sock: socket.socket) -> tuple[int, int]:
    """The namespace that the kernel says a socket is of."""
    fd = fcntl.ioctl(sock, SIOCGSKNS)
    try:
        return identity(fd)
    finally:
        os.close(fd)


def check(made: Made) -> None:
    assert [identity(fd) for fd, _ in made] == [spoken_to(sock) for _, sock in made]
    assert len({identity(fd) for fd, _ in made}) == len(made) == COUNT
    assert not any(os.get_inheritable(fd) for fd, _ in made)


def close(made: Made) -> None:
    for fd, sock in made:
        sock.close()
        os.close(fd)


def test_each_descriptor_is_that_of_its_socket() -> None:
    made = create_namespaces(COUNT, opened, socket.socket.close, lambda done: None)
    try:
        check(made)
    finally:
        close(made)


def test_without_the_capability_to_ask_a_socket_they_are_found_by_path() -> None:
    """SIOCGSKNS takes CAP_NET_ADMIN, making a namespace only CAP_SYS_ADMIN; threads inherit them."""
    made: Made = []
    refused: list[BaseException] = []

    def make() -> None:
        only = 1 << 21  # CAP_SYS_ADMIN
        header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
        assert ctypes.CDLL(None).capset(header, struct.pack("=6I", only, only, 0, 0, 0, 0)) == 0
        made.extend(create_namespaces(COUNT, opened, socket.socket.close, lambda done: None))
        try:
            fcntl.ioctl(made[0][1], SIOCGSKNS)
        except PermissionError as problem:
            refused.append(problem)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(LONG)
    try:
        check(made)
        assert refused
    finally:
        close(made)


def may_mount_procfs() -> bool:
    """Not who is root of a user namespace only, in a pid namespace of others; glibc knows how since 2.36."""
    mounting = ["unshare", "--mount", "mount", "-t", "proc", "none", "/mnt"]
    return (
        hasattr(ctypes.CDLL(None), "fsopen") and subprocess.run(mounting, capture_output=True).returncode == 0
    )


@pytest.mark.parametrize("allowed", [True, False])
def test_a_crowd_looks_for_sysctls_in_a_procfs_of_its_own(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for 128 of them, or none where none may be mounted: what is written is the same."""
    asked: list[str] = []

    def new_mount(kind: str) -> int:
        asked.append(kind)
        if not allowed:
            raise PermissionError(errno.EPERM, "no")
        return syscalls.new_mount(kind)

    def set_up() -> socket.socket:
        sysctl_files.skip_duplicate_detection()
        return opened()

    monkeypatch.setattr(fresh_proc, "new_mount", new_mount)
    monkeypatch.setattr(makers, "_threads", lambda count: 2)
    before = sorted(os.listdir("/proc/self/fd"))
    made = create_namespaces(260, set_up, socket.socket.close, lambda done: None)
    try:
        values = [worker.inside(fd, lambda: sysctl_files.read(DETECTION)) for fd, _ in made]
    finally:
        close(made)
    assert asked == ["proc"] * (4 if allowed and may_mount_procfs() else 2)
    assert values == ["0"] * 260
    assert sysctl_files.fresh_procs == {}
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("last", [1, 2, COUNT // 2, COUNT])
def test_of_a_failure_nothing_stays(last: int) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    lock, number = threading.Lock(), 0

    def fail_at_last() -> socket.socket:
        nonlocal number
        with lock:
            number += 1
            if number == last:
                raise OSError(24, "Too many open files")
        return opened()

    with pytest.raises(OSError, match="Too many"):
        create_namespaces(COUNT, fail_at_last, socket.socket.close, lambda done: None)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("count", "processors", "threads"),
    [
        (1, 4, 1),
        (2, 4, 2),
        (32, 2, 2),
        (32, 64, 8),
        (33, 4, 1),
        (128, 4, 1),
        (129, 4, 2),
        (1000, 2, 2),
        (9999, 64, 8),
    ],
)
def test_how_many_threads(count: int, processors: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makers.os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert makers._threads(count) == threads
