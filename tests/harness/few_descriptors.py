"""A program that tries one thing of netkit's with each limit of open files, in a child each: what came of it.

It prints a line for each: the limit, `ok` or the exception's class, and its text. ``argv``: what, and whether
the limit is lowered `before` netkit's first work or `after` a namespace was made.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from netkit import Namespace, NatRule, NetkitError, Scope, VethPair

LIMITS = (*range(3, 21), 25, 40)
_REFUSED = 3
TRACE = f"/tmp/netkit-trace-{os.urandom(8).hex()}"  # what ran has left it; others may have this pid in theirs


def _inside(act: Callable[[Namespace], object]) -> Callable[[], object]:
    def build() -> None:
        with Namespace() as box:
            act(box)

    return build


def _rule(box: Namespace) -> None:
    with NatRule.masquerade(box, oif="eth0"):
        pass


def _iptables(box: Namespace) -> None:
    with NatRule.masquerade(box, oif="eth0", backend="iptables"):
        pass


def _capture(box: Namespace) -> None:
    """With a filter, libpcap is loaded; without one it is not, and a link's is another way."""
    with box.capture() as packets, box.links["lo"].capture("icmp"):
        pass
    packets.close()


def _readings(box: Namespace) -> None:
    """Each is a module of its own, which is imported now; all are tried."""
    refused: list[NetkitError] = []
    for read in (
        lambda: box.sysctl["net.ipv4.ip_forward"],
        lambda: [*box.routes],
        lambda: [*box.rules],
        lambda: [*box.neighbours],
        lambda: [*box.nat],
        box.snapshot,
    ):
        try:
            read()
        except NetkitError as problem:
            refused.append(problem)
    if refused:
        raise refused[0]


def _pair() -> None:
    with Namespace() as one, Namespace() as two, VethPair(one, two, name="a", peer_name="b"):
        pass


def _several() -> None:
    with Scope() as lab:
        lab.own(*[Namespace() for _ in range(3)])


WORKS: dict[str, Callable[[], object]] = {
    "namespace": _inside(lambda box: None),
    "pair": _pair,
    "several": _several,
    "run": _inside(lambda box: box.run(["mkdir", TRACE], check=True)),
    "output": _inside(lambda box: box.run(["mkdir", TRACE], check=True, capture_output=True)),
    "call": _inside(lambda box: box.call(os.mkdir, TRACE)),
    "ping": _inside(lambda box: box.ping("127.0.0.1")),
    "capture": _inside(_capture),
    "rule": _inside(_rule),
    "readings": _inside(_readings),
    "iptables": _inside(_iptables),
}


def _tried(work: Callable[[], object]) -> str:
    try:
        work()
    except NetkitError as problem:
        return f"{type(problem).__name__} {problem}"
    except BaseException as problem:
        return f"RAW {''.join(traceback.format_exception(problem))!r}"
    return "ok"


def environment(rootless: bool) -> dict[str, str]:
    """For the program: netkit works as in this one."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root, "NETKIT_ROOTLESS": str(int(rootless))}


def check(output: str) -> None:
    """Of every line; with few descriptors it is refused, with enough it works."""
    lines = output.splitlines()
    for line in lines:
        assert line.endswith(" ok") or ("RLIMIT_NOFILE" in line and "RAW" not in line), line
    assert not lines[0].endswith(" ok")
    assert lines[-1].endswith(" ok")


def main() -> None:
    """Each in a fresh copy of this process: nothing that one has loaded or started serves another."""
    name, when = sys.argv[1:]
    with suppress(OSError):  # what ends a thread at Python's exit: glibc would complain that it can't load it
        ctypes.CDLL("libgcc_s.so.1")
    for limit in LIMITS:
        child = os.fork()
        if child == 0:
            if when == "after":
                with Namespace() as box:
                    box.links["lo"]
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit if when == "after" else most))
            said = _tried(WORKS[name])
            os.write(1, f"{limit} {said}\n".encode())
            sys.exit(_REFUSED if said != "ok" else 0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ran = os.path.exists(TRACE)
        if ran:
            os.rmdir(TRACE)
        expected = status == 0 and name in ("run", "output", "call")
        if status not in (0, _REFUSED) or ran is not expected:
            print(f"{limit} RAW status {status}, {ran=}", flush=True)


if __name__ == "__main__":
    main()
