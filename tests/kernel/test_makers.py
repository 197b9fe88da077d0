"""Many namespaces made at once: each descriptor is its socket's namespace, and of a failure nothing stays."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading

import pytest

from netkit._system import makers
from netkit._system.makers import create_namespaces
from netkit._system.namespace_files import identity
from tests.harness.inside import SIOCGSKNS
from tests.harness.patience import LONG

pytestmark = pytest.mark.capable

Made = list[tuple[int, socket.socket]]
COUNT = 30  # which several threads make


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
