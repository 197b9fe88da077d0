"""Greenlets in the place of threads, as gevent and eventlet put them there: netkit cannot work on those."""

from __future__ import annotations

from netkit.errors import StateError

_MAKERS = ("gevent.", "eventlet.")


def refuse_greenlets(start: object) -> None:
    """StateError if that is no start of a thread: `setns` would move the program's only one."""
    if str(getattr(start, "__module__", None)).startswith(_MAKERS):
        raise StateError(
            "gevent or eventlet has made threads greenlets, which share one thread of the kernel, and netkit "
            "enters namespaces on threads of its own: use it in a process that is not monkey-patched"
        )
