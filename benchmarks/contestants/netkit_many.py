"""netkit with as many namespaces at once as asked for, and what it says when there is a limit."""

from __future__ import annotations

import os
import resource
import time

from netkit import Namespace, Scope


class Crowd:
    """Sets limits of this process, and makes namespaces until all are there or one is refused."""

    def __init__(self) -> None:
        with Namespace():  # the worker thread stays, and so does its descriptor
            pass

    def limit(self, what: str, value: int) -> None:
        """`descriptors` of the process, or `namespaces` of its user namespace."""
        if what == "descriptors":
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (value, max(value, hard)))
        elif what == "namespaces":
            with open("/proc/sys/user/max_net_namespaces", "w") as file:
                file.write(str(value))
        else:
            raise ValueError(what)

    def many(self, count: int) -> dict[str, object]:
        """How many there were, for how long it took to have and to drop them, and the refusal, if any."""
        before, made, refusal = _descriptors(), 0, ""
        began = up = time.perf_counter()
        try:
            with Scope() as scope:
                try:
                    for _ in range(count):
                        scope.own(Namespace())
                        made += 1
                finally:
                    up = time.perf_counter()
        except Exception as error:
            refusal = f"{type(error).__name__}: {error}"
            notes = getattr(error, "__notes__", [])
            refusal += "".join(f" / {note}" for note in notes[:2])
        down = time.perf_counter()
        return {
            "made": made,
            "up": up - began,
            "down": down - up,
            "refusal": refusal,
            "kept": _descriptors() - before,
        }


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
