"""A live broker is sent what it should never get, by hypothesis; it answers, leaks nothing and serves on.

Run as a program by an ordinary user, inside tests/harness/counted.py.
"""

from __future__ import annotations

import os
import sys
from _socket import SCM_RIGHTS, SOL_SOCKET
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkit import Namespace
from netkit._system import broker_frames as frames
from netkit._system.broker import Broker, broker
from netkit._system.broker_service import _LISTS, _REQUESTS
from netkit.errors import NetkitError

EXAMPLES = settings(
    max_examples=int(sys.argv[1]) if __name__ == "__main__" else 1,
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
)  # fmt: skip
TEXTS = st.sampled_from(
    ["net/ipv4/ip_forward", "net/ipv4/conf", "red", "1", "", "/", "..", "net", "net/../kernel/hostname",
     "/proc/sys/net/ipv4/ip_forward", "/etc/passwd", "net/ipv4//ip_forward", "net/ipv4/ip_forward/",
     "x" * 5000, "\udcff", "a\0b", "a/b", "é "]
)  # fmt: skip
# Nothing that would do harm to whose user runs this, even if it were run.
BYTES = st.sampled_from([b"", b"/", b".", b"/bin/true", b"nosuch", b"a\0b", b"=", b"A=1", b"x" * 5000])
STRANGE = [-(2**63), -2, 99, 1 << 20, 1 << 32, 2**63 - 1]
INTEGERS = st.integers(-1, 64 + len(STRANGE)).map(lambda n: n if n <= 64 else STRANGE[n - 65])
LISTS = st.lists(INTEGERS, max_size=4) | st.lists(BYTES, max_size=3) | st.lists(TEXTS, max_size=3)
ANY = (
    st.none()
    | st.booleans()
    | INTEGERS
    | BYTES
    | TEXTS
    | LISTS
    | st.dictionaries(TEXTS, INTEGERS, max_size=2)
)
OF_TYPE: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(), int: INTEGERS, bytes: BYTES, str: TEXTS, list: LISTS, type(None): st.none(),
}  # fmt: skip


def values(key: str, kind: type) -> st.SearchStrategy[Any]:
    """Of the type that a field is to have, elements too."""
    if kind is list and key == "limits":
        return st.lists(
            st.sampled_from(["7 64 64", "0 0 0", "x", "99 1 1", "7 -1 -1", f"7 {2**70} 0"]), max_size=2
        )
    return st.lists(OF_TYPE[_LISTS[key]], max_size=3) if kind is list else OF_TYPE[kind]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Right but for the values; sometimes a field is of another type, missing, or too many."""
    name = draw(st.sampled_from(sorted(_REQUESTS)))
    wanted, _ = _REQUESTS[name]
    fields = {key: draw(st.one_of(*(values(key, kind) for kind in kinds))) for key, kinds in wanted.items()}
    wrong = draw(st.sampled_from([*[""] * 20, *sorted(fields), "more", "request"]))
    if wrong:
        fields[wrong] = draw(ANY)
    missing = draw(st.sampled_from([*[""] * 40, *sorted(fields)]))
    fields.pop(missing, None)
    return {"request": name, **fields} if missing != "request" else fields


def descriptors(namespace: int) -> list[int]:
    """Of many kinds; two are what is asked for."""
    read, write = os.pipe()
    return [
        namespace, namespace, os.open("/", os.O_PATH | os.O_DIRECTORY), os.open("/dev/null", os.O_RDWR),
        os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/proc/self/ns/user", os.O_RDONLY),
        os.memfd_create("x"), read, write,
    ]  # fmt: skip


class Target:
    """A broker, spoken to past everything that would check what it is sent."""

    def __init__(self, asked: Broker, namespace: int) -> None:
        assert asked._sock is not None
        self.broker, self.sock, self.namespace = asked, asked._sock, namespace
        self.kinds = descriptors(namespace)
        self.before = self.count()

    def count(self) -> int:
        """Its open descriptors, once it has closed those of the request before."""
        assert self.broker.request("present", [self.namespace], path="net/ipv4/ip_forward")[0] is True
        return len(os.listdir(f"/proc/{self.broker.pid}/fd"))

    def ask(self, send: Callable[[], object]) -> str:
        """What kind of answer came; its descriptors are closed."""
        send()
        frame = frames.receive(self.sock)
        assert frame is not None
        frames.close_all(frame.fds)
        if frame.kind == frames.REPLY:
            return "reply"
        problem = frames.error_of(frame.fields())
        assert isinstance(problem, (NetkitError, OSError)), problem
        assert "the broker failed" not in str(problem), problem
        return type(problem).__name__


def fuzz(target: Target) -> dict[str, int]:
    """How often each kind of answer came."""
    seen: dict[str, int] = {}

    @EXAMPLES
    @given(requests(), st.lists(st.integers(0, 8), max_size=5), st.sampled_from([True, True, False]))
    def test_requests(fields: dict[str, Any], chosen: list[int], fitting: bool) -> None:
        name = fields.get("request")
        count = _REQUESTS[name][1] if isinstance(name, str) and name in _REQUESTS else 0
        if fitting and isinstance(targets := fields.get("targets", []), list):
            chosen = [0, 2, *[3] * len(targets)] if count < 0 else [0] * count
        fds = [target.kinds[each] for each in chosen]
        answer = target.ask(lambda: frames.send(target.sock, frames.REQUEST, 7, fields, fds))
        seen[f"{name}: {answer}"] = seen.get(f"{name}: {answer}", 0) + 1

    @EXAMPLES
    @given(st.binary(max_size=200), st.booleans(), st.lists(st.integers(0, 8), max_size=3))
    def test_datagrams(data: bytes, headed: bool, chosen: list[int]) -> None:
        if headed:
            data = frames._HEADER.pack(b"nkbr", frames.VERSION, 1, len(data) % 2, 7, len(data)) + data
        rights = b"".join(target.kinds[each].to_bytes(4, "little") for each in chosen)
        ancillary = [(SOL_SOCKET, SCM_RIGHTS, rights)] if rights else []
        if not data and not rights:
            return  # an empty datagram is the end of the connection
        answer = target.ask(lambda: target.sock.sendmsg([data or b"x"], ancillary))
        seen[answer] = seen.get(answer, 0) + 1
        assert answer == "ProtocolError", answer

    test_requests()
    test_datagrams()
    return seen


def main() -> None:
    """Both, then the broker is as it was and works."""
    with Namespace() as box:
        target = Target(broker(), box.fileno())
        seen = fuzz(target)
        # What it started has ended by itself: /bin/true and nothing else can have been.
        while (now := target.count()) > target.before:
            os.sched_yield()
        print(now - target.before, *sorted(name for name in seen if name.endswith("reply")))
        print(box.ping("127.0.0.1").loss, box.run(["true"]).returncode)


if __name__ == "__main__":
    main()
