"""A program: many processes at once, which all want the same.

    python -m tests.harness.contention PROCESSES

All are forked, wait for the start, and do one thing each of what is shared: the xtables lock, the namespace
directory, equal names. Prints one JSON object: what came of each, and what is left.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

import netkit
from netkit import Bridge, Namespace, NatRule, NetkitError, VethPair
from tests.harness.patience import LONG

LONGEST = 300.0  # seconds for all of them; the xtables lock is waited for up to five


def named(number: int) -> None:
    with Namespace("same"):
        pass


def persistent(number: int) -> None:
    with Namespace("same-mount", persistent=True):
        pass


def own_name(number: int) -> None:
    """Different names, one directory."""
    with Namespace(f"own{number}", persistent=True):
        pass


def link(number: int) -> None:
    host = Namespace.current()
    with VethPair(host, host, name="same0", peer_name=f"p{number}"):
        pass


def bridge(number: int) -> None:
    with Bridge(Namespace.current(), "samebr"):
        pass


def sysctl(number: int) -> None:
    with Namespace.current().sysctl.override("net.ipv4.ip_forward", 1):
        pass


def iptables(number: int) -> None:
    rule = NatRule.masquerade(Namespace.current(), saddr=f"10.{number}.0.0/16", oif="v9", backend="iptables")
    with rule:
        pass


WISHES = [named, persistent, own_name, link, bridge, sysctl, iptables]


def main() -> None:
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    from tests.harness import networks
    from tests.harness.killing import settle, state

    networks.prepare()
    for wish in WISHES:
        in_child(wish, 0)  # what stays for good is there before
    before = state()
    start, go = os.pipe()
    children = [_child(WISHES[n % len(WISHES)], n, start, go) for n in range(int(sys.argv[1]))]
    os.close(go)  # all begin
    begun = time.monotonic()
    came: dict[str, Counter[str]] = {}
    unclear: list[str] = []
    hung = 0
    for name, pid, answer in children:
        text = _answer(answer, begun + LONGEST)
        if text is None:
            os.kill(pid, signal.SIGKILL)
            hung += 1
        elif text.startswith("unclear"):
            unclear.append(text)
        else:
            came.setdefault(name, Counter())[text] += 1
        os.waitpid(pid, 0)
        os.close(answer)
    seconds = round(time.monotonic() - begun, 1)
    _, left = settle(before, time.monotonic() + LONG)
    print(json.dumps({"came": came, "unclear": unclear, "hung": hung, "left": left, "seconds": seconds}))


def in_child(wish: Callable[[int], None], number: int) -> None:
    """The wish alone."""
    pid = os.fork()
    if pid == 0:
        try:
            wish(number)
            netkit.shutdown()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _child(wish: Callable[[int], None], number: int, start: int, go: int) -> tuple[str, int, int]:
    answer, mine = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(start, 1)  # its end is the start
        os.write(mine, _tried(wish, number).encode())
        os._exit(0)
    os.close(mine)
    return wish.__name__, pid, answer


def _tried(wish: Callable[[int], None], number: int) -> str:
    try:
        wish(number)
        netkit.shutdown()
    except NetkitError as problem:
        return type(problem).__name__ if len(str(problem)) > 20 else f"unclear {problem!r}"
    except BaseException:
        return "unclear " + traceback.format_exc()
    return "done"


def _answer(descriptor: int, until: float) -> str | None:
    """What the child says; None if it says nothing in time."""
    ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
    return os.read(descriptor, 1 << 16).decode() or "unclear: it ended without a word" if ready else None


if __name__ == "__main__":
    main()
