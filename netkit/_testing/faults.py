"""What is to go wrong in the simulated kernel, and at which request."""

from __future__ import annotations

import errno as _errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from netkit._testing.messages import Refused


@dataclass
class Fault:
    """What happens at one request."""

    refusal: Refused | None = None
    on_send: BaseException | None = None
    on_receive: BaseException | None = None
    interrupted: bool = False
    truncate: int | None = None
    before: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    datagrams: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    stale: bool = False


class Faults:
    """The planned faults. Requests are counted from 1 on, beginning with the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._planned: dict[int, Fault] = {}

    def at(self, n: int) -> Fault:
        """The plan for the n-th request from now."""
        if n < 1:
            raise ValueError(f"requests are counted from 1, not {n}")
        return self._planned.setdefault(self.count + n, Fault())

    def next(self) -> Fault | None:
        """Count one request, and take what is planned for it."""
        self.count += 1
        return self._planned.pop(self.count, None)

    def peek(self, messages: int) -> BaseException | None:
        """What is to be raised before any of the next messages is sent."""
        for n in range(self.count + 1, self.count + 1 + messages):
            fault = self._planned.get(n)
            if fault is not None and fault.on_send is not None:
                problem, fault.on_send = fault.on_send, None
                return problem
        return None

    @property
    def pending(self) -> int:
        """How many planned faults have not happened yet."""
        return len(self._planned)

    def clear(self) -> None:
        """Forget what is planned."""
        self._planned.clear()


class FaultPlan:
    """The part of a FakeKernel that says what goes wrong. ``n`` counts requests: 1 is the next one."""

    def __init__(self) -> None:
        self._faults = Faults()

    def refuse(self, n: int, errno: int, text: str | None = None) -> None:
        """Answer the n-th request with an errno, and the kernel's words if given, and do nothing."""
        self._faults.at(n).refusal = Refused(errno, text)

    def interrupt(
        self, n: int, exception: BaseException, where: Literal["send", "receive"] = "receive"
    ) -> None:
        """Raise at the n-th request, as a Ctrl-C would.

        ``"send"``: before the kernel has seen it. ``"receive"``: the kernel has done the work and the
        answer was not read.
        """
        if where == "send":
            self._faults.at(n).on_send = exception
        else:
            self._faults.at(n).on_receive = exception

    def lose(self, n: int) -> None:
        """Do the n-th request, but lose its answer to a full receive buffer (ENOBUFS)."""
        self._faults.at(n).on_receive = OSError(_errno.ENOBUFS, "No buffer space available")

    def disturb(self, n: int) -> None:
        """Mark the n-th request's dump as interrupted by a change (NLM_F_DUMP_INTR)."""
        self._faults.at(n).interrupted = True

    def truncate(self, n: int, size: int) -> None:
        """Cut each datagram that answers the n-th request to ``size`` bytes."""
        self._faults.at(n).truncate = size

    def inject(self, n: int, datagram: bytes, sender: int = 0) -> None:
        """Deliver a datagram before the answer to the n-th request; ``sender`` 0 is the kernel."""
        self._faults.at(n).datagrams.append((datagram, sender))

    def stale(self, n: int) -> None:
        """Let an answer to an older request (EPERM) come before the answer to the n-th one."""
        self._faults.at(n).stale = True

    def before(self, n: int, function: Callable[[], object]) -> None:
        """Call a function just before the n-th request is done: what another program does meanwhile."""
        self._faults.at(n).before.append(function)

    def heal(self) -> None:
        """Forget the faults that have not happened."""
        self._faults.clear()

    @property
    def pending_faults(self) -> int:
        """How many planned faults have not happened yet: 0 after a run that met them all."""
        return self._faults.pending
