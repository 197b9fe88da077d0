"""``ns.call(function)`` without root: both ends.

The function runs in a process of its own, a fork of the broker, which takes on the caller's module
path, directory, environment and streams. Its packed form comes in a memfd, the outcome goes back
over a socket.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from netkit._system import broker_frames as frames
from netkit._system.signals import deferred_signals
from netkit.errors import SpecError, StateError, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

    from netkit._system.broker import Broker
    from netkit._system.classes import Classes

_FIRST = (
    3  # descriptors of the child: the standard three, the sockets in the arguments, the call, the outcome
)


def call_remotely(
    broker: Broker,
    namespace: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """The function's result, or its exception; SpecError if it cannot be taken to another process."""
    with naming_limits("call a function"):
        from netkit._system.classes import Classes
        from netkit._system.functions import Unportable, pack

    classes = Classes()
    try:
        data, carried = pack((sys.argv, function, args, kwargs), classes)
    except Unportable as problem:
        raise SpecError(
            f"call() without root runs {function!r} in another process, and it cannot be taken there: "
            f"{problem}. Use run(), socket(), or start the program with `netkit unshare`"
        ) from None
    with naming_limits("call a function"):
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        with naming_limits("call a function"):
            _begin(broker, namespace, data, carried, theirs)
        return _outcome(ours, function, classes)
    finally:
        ours.close()
        theirs.close()


def _begin(broker: Broker, namespace: int, data: bytes, carried: Sequence[int], theirs: socket) -> None:
    from netkit._system.remote_process import inheritable, order_of

    if len(carried) > frames.MOST_DESCRIPTORS // 2:
        raise SpecError(f"call() takes at most {frames.MOST_DESCRIPTORS // 2} sockets along")
    sys.stdout.flush()  # what is printed there comes after what was printed here
    standard = inheritable((0, 1, 2))
    message = os.memfd_create("netkit-call")
    directory = os.open(os.curdir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(message, "wb", closefd=False) as file:
            file.write(data)
        fds = [*carried, message, theirs.fileno()]
        targets = [*standard, *range(_FIRST, _FIRST + len(fds))]
        environment: list[Any] = [key + b"=" + value for key, value in os.environb.items()]
        paths: list[Any] = [*map(str, sys.path)]
        order = order_of(targets=targets)
        with deferred_signals():
            answer, came = broker.begin(
                "call",
                [namespace, directory, *standard, *fds],
                **order,
                paths=paths,
                environment=environment,
            )
            frames.close_all(came)
    finally:
        os.close(message)
        os.close(directory)
        theirs.close()
    if "stage" in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]))


def _outcome(ours: socket, function: Callable[..., Any], classes: Classes) -> Any:
    from netkit._system.functions import unpack

    frame = frames.receive(ours)
    if frame is None:
        raise StateError(f"the process in which call() ran {function!r} gave no result: it was killed")
    data = frame.value
    assert isinstance(data, bytes)
    kind, result = unpack(data, frame.fds, classes)
    if kind == "returned":
        return result
    if kind == "raised":
        raise result
    raise SpecError(
        f"call() without root ran {function!r} in another process, and its result cannot come back: {result}"
    )


# -- in the broker's child ------------------------------------------------------------------------


def serve_call(last: int, paths: Sequence[str], environment: Sequence[bytes]) -> Callable[[], None]:
    """A ``main`` that makes the call in the descriptor before ``last``, which takes the outcome."""

    from netkit._system import functions  # once for all calls, and before netkit's modules are forgotten

    def main() -> None:
        os.closerange(last + 1, 1 << 16)
        os.environb.clear()
        for each in environment:
            key, _, value = each.partition(b"=")
            os.environb[key] = value
        _become_the_caller_s(paths)
        _perform(last, functions)

    return main


def _become_the_caller_s(paths: Sequence[str]) -> None:
    """Modules as the caller finds them; netkit too, of which the broker has loaded parts only."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "netkit"]:
        del sys.modules[name]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:] = [*paths, package]
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, closefd=False, errors="backslashreplace" if fd == 2 else None)  # noqa: SIM115
        if _is_open(fd)
        else None
        for fd, mode in ((0, "r"), (1, "w"), (2, "w"))
    )


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _perform(last: int, functions: ModuleType) -> None:
    for fd in range(_FIRST, last + 1):
        os.set_inheritable(fd, False)
    outcome = socket(AF_UNIX, SOCK_SEQPACKET, 0, last)
    message = last - 1
    classes = functions.new_classes()
    data = os.pread(message, os.fstat(message).st_size, 0)
    os.close(message)

    def call() -> object:
        sys.argv, function, args, kwargs = functions.unpack(data, range(_FIRST, message), classes)
        return function(*args, **kwargs)

    packed, fds, held = functions.outcome_of(call, classes)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    frames.send(outcome, frames.REPLY, 0, packed, fds)
    del held
    os._exit(0)
