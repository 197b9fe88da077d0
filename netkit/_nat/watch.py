"""Looking after NAT rules: a thread that puts back what somebody removes."""

from __future__ import annotations

import os
import select
from threading import Condition, Thread

from netkit._netlink.transport import NETLINK_NETFILTER, subscribe
from netkit._shown import Shown
from netkit._spec.numbers import seconds
from netkit.errors import NetkitError, StateError, WaitTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from netkit._nat.view import NatRules
    from netkit._netlink.transport import Transport

_GROUPS = (7,)  # NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h)
_LARGEST = 1 << 16
_LONGEST = 1_000_000  # poll(2) takes milliseconds as an int


class NatWatch(Shown):
    """What `NatRules.watch` returns: for ``with``."""

    def __init__(self, rules: NatRules, interval: float) -> None:
        self._rules = rules
        self._interval = seconds(interval, "interval", 0.001, _LONGEST)
        self._changed = Condition()
        self._thread: Thread | None = None
        self._problem: BaseException | None = None
        self.restored = 0

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise StateError(f"{self!r} watches already")
        runtime = self._rules._netns._live_runtime()
        self._events: Transport = runtime.opener.open_netlink(runtime.check(), NETLINK_NETFILTER)
        try:
            subscribe(self._events, _GROUPS)
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        except BaseException:
            self._events.close()
            raise
        self._thread = Thread(target=self._run, name="netkit nat watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        os.eventfd_write(self._stop, 1)
        thread.join()
        os.close(self._stop)
        self._events.close()
        if self._problem is not None and problem is None:
            raise self._problem

    def wait(self, restored: int = 1, timeout: float = 10.0) -> None:
        """Return when so many have been put back; WaitTimeout after ``timeout`` seconds. Twin: none.

        StateError before its ``with``, when nobody watches.
        """
        if self._thread is None and not self.restored:
            raise StateError(f"{self!r} does not watch: it begins with `with`")
        with self._changed:
            done = self._changed.wait_for(lambda: self.restored >= restored or self._problem, timeout)
        if self._problem is not None:
            raise self._problem
        if not done:
            raise WaitTimeout(f"{self!r}: {self.restored} were put back within {timeout} seconds")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._events.fileno(), select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        stopped = False
        try:
            self._look()  # what was lost before there was anybody to be told
            while not stopped:
                ready = [fd for fd, _ in poll.poll(self._timeout())]
                stopped = self._stop in ready
                if not stopped:
                    self._drain()
                    self._look()
        except (NetkitError, OSError) as problem:
            with self._changed:
                self._problem = problem
                self._changed.notify_all()

    def _timeout(self) -> float | None:
        """In milliseconds; for ever, where no rule of ours can be lost without an event."""
        legacy = any(getattr(each, "backend", None) != "nftables" for each in self._rules._own())
        return self._interval * 1000 if legacy else None

    def _look(self) -> None:
        found = len(self._rules.ensure())
        if found:
            with self._changed:
                self.restored += found
                self._changed.notify_all()

    def _drain(self) -> None:
        """Read what has come: what it says is not looked at, the rule set is."""
        buffer = bytearray(_LARGEST)
        while True:
            try:
                self._events.recvfrom_into(buffer, 0, _DONTWAIT)
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno != _ENOBUFS:  # events were lost: there is something to look at
                    raise

    def __repr__(self) -> str:
        return f"<NatWatch of {self._rules!r}, {self.restored} put back>"


_DONTWAIT = 0x40  # MSG_DONTWAIT
_ENOBUFS = 105
