"""Move this process into namespaces of its own, so that no test can touch the machine's network.

It is what `netkit unshare` does. This runs before anything is imported that could start a thread,
because `unshare(CLONE_NEWUSER)` is refused to a process with a second one (unshare(2)).
"""

from __future__ import annotations

import os

from netkit._system import user_namespace


def isolate() -> str | None:
    """Enter a new network and mount namespace with an empty /run; say why if that is not possible.

    Doing it again inside is harmless: each pytest-xdist worker has its own.
    """
    user, capable = os.geteuid(), user_namespace.may_make_namespaces()
    try:
        user_namespace.isolate()
    except OSError as error:
        return f"no namespaces of our own for this user: {error}"
    if not capable:
        # getpass.getuser() would say root, whose /tmp/pytest-of-root is not ours
        os.environ["LOGNAME"] = f"uid-{user}"
    return None
