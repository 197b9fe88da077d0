"""No test can touch the machine's network: this process moves into namespaces of its own.

It is what `netkit unshare` does. This runs before anything is imported that could start a thread,
because `unshare(CLONE_NEWUSER)` is refused to a process with a second one (unshare(2)).

An ordinary user's process stays what it is, for that is what netkit is to work in: it may change nothing of
the machine anyway. With NETKIT_ROOTLESS=0 it becomes root of a user namespace, which is the other way.
"""

from __future__ import annotations

import os

from netkit._system import broker, mode, user_namespace

isolated = False  # this process has a mount namespace of its own, since it began


def isolate_session() -> str | None:
    """`isolate`, or for an ordinary user see that the broker works; say why if that is not possible."""
    if user_namespace.may_make_namespaces() or os.environ.get(mode.VARIABLE) == "0":
        return isolate()
    try:
        broker.broker()
    except OSError as error:
        return f"no namespaces of our own for this user: {error}"
    return None


def isolate() -> str | None:
    """Enter a new network and mount namespace with an empty /run; say why if that is not possible.

    Doing it again inside is harmless: each pytest-xdist worker has its own.
    """
    global isolated
    user, capable = os.geteuid(), user_namespace.may_make_namespaces()
    try:
        user_namespace.isolate()
    except OSError as error:
        return f"no namespaces of our own for this user: {error}"
    isolated = True
    if not capable:
        # getpass.getuser() would say root, whose /tmp/pytest-of-root is not ours
        os.environ["LOGNAME"] = f"uid-{user}"
    return None
