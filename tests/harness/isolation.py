"""No test can touch the machine's network: this process moves into namespaces of its own.

It is what `netkit unshare` does. This runs before anything is imported that could start a thread,
because `unshare(CLONE_NEWUSER)` is refused to a process with a second one (unshare(2)).

An ordinary user's process stays what it is, for that is what netkit is to work in: it may change nothing of
the machine anyway. With NETKIT_ROOTLESS=0 it becomes root of a user namespace, which is the other way.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from netkit._system import broker, mode, user_namespace

# How util-linux does what is done here: as root, and as anybody else.
BY_ROOT = ["unshare", "--net", "--mount", "true"]
BY_OTHERS = "unshare --user --map-root-user --net --mount --pid --fork --mount-proc true".split()

_OPEN_TUN = Path(__file__).parents[2] / "scripts" / "open-tun"

isolated = False  # this process has a mount namespace of its own, since it began


def isolate_session() -> str | None:
    """`isolate`, or for an ordinary user see that the broker works; say why if that is not possible."""
    if user_namespace.may_make_namespaces() or os.environ.get(mode.VARIABLE) == "0":
        return isolate()
    try:
        broker.broker()
    except OSError as error:
        return _forbidden(error, BY_OTHERS)
    return None


def _forbidden(error: OSError, twin: list[str]) -> str:
    """Why kernel tests are skipped. If the twin can do it, netkit cannot, and no test would say so."""
    if subprocess.run(twin, capture_output=True).returncode == 0:
        raise error
    return f"no namespaces of our own for this user: {error}"


def isolate() -> str | None:
    """Enter a new network and mount namespace with its own /run; say why if that is not possible.

    Doing it again inside is harmless: each pytest-xdist worker has its own.
    """
    global isolated
    user, capable = os.geteuid(), user_namespace.may_make_namespaces()
    try:
        user_namespace.isolate()
    except OSError as error:
        return _forbidden(error, BY_ROOT if capable else BY_OTHERS)
    isolated = True
    if capable:
        subprocess.run([_OPEN_TUN], check=True)
    else:
        # getpass.getuser() would say root, whose /tmp/pytest-of-root is not ours
        os.environ["LOGNAME"] = f"uid-{user}"
    return None
