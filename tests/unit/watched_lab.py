"""A simulated kernel in which each refusal must come before any system call, and change nothing.

Each case is a call and the words its message must have: the value, the rule it breaks, the right call.
The kernel counts what is sent, an audit hook what else the interpreter asks of the system.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from netkit import Bridge, Link, Namespace, Scope, VethPair
from netkit.testing import FakeKernel


@dataclass
class Lab:
    """What the cases are called with: two namespaces, a bridge `br0`, a veth `eth0` in both."""

    kernel: FakeKernel
    host: Namespace
    box: Namespace
    bridge: Bridge
    veth: VethPair
    eth0: Link


Case = tuple[Callable[[Lab], Any], list[str]]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with FakeKernel() as kernel:
        host, box = kernel.namespace("host"), kernel.namespace("box")
        bridge = Bridge(host, "br0", address="10.1.0.1/24").create()
        veth = VethPair(
            host, box, name="eth0", peer_name="eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"
        ).create()
        yield Lab(kernel, host, box, bridge, veth, veth.link)


_seen: list[str] | None = None
_SYSTEM = ("open", "socket.", "os.", "subprocess.", "fcntl.", "ctypes.dlopen", "shutil.")


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _seen is not None and event.startswith(_SYSTEM) and not _is_reading_code(event, args):
        _seen.append(f"{event} {args}")


def _is_reading_code(event: str, args: tuple[object, ...]) -> bool:
    """A module imported on first use, or iproute2's names of tables."""
    path = str(args[0]) if args else ""
    return (
        event in ("os.listdir", "os.scandir")
        or "__pycache__" in path  # in a fresh tree it is compiled, too
        or (event == "open" and (path.endswith((".py", ".pyc", ".so")) or "iproute2" in path))
    )


sys.addaudithook(_audit)


def refusal(lab: Lab, call: Callable[[Lab], object], kind: type[Exception]) -> str:
    """The message of the refusal; fails if anything was asked of the kernel or changed."""
    global _seen
    state, sent = lab.kernel.state(), len(lab.kernel.requests)
    _seen = []
    try:
        with pytest.raises(kind) as caught:
            call(lab)
        asked, _seen = _seen, None
    finally:
        _seen = None
    assert type(caught.value) is kind
    assert asked == []
    assert lab.kernel.requests[sent:] == []
    assert lab.kernel.state() == state
    return str(caught.value)


@contextmanager
def unwatched() -> Iterator[None]:
    """What a case itself asks of the system is not the call's."""
    global _seen
    asked, _seen = _seen, None
    yield
    _seen = asked


def owned(value: Any) -> object:
    """Scope.own(), whatever is given."""
    with Scope() as scope:
        return scope.own(value)
