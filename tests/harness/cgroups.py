"""A tree of cgroups that container runtimes take, in a mount namespace that ends with what runs in it.

crun refuses a tree of both versions, as some machines have it: there one of version 2 alone is mounted over
it. Where version 2 is all there is, a second mount on top would be EBUSY (do_add_mount in fs/namespace.c).
"""

from __future__ import annotations

# For `sh -ec VERSION_2 sh COMMAND...` in a mount namespace of its own; without root a cgroup namespace, too.
VERSION_2 = (
    '[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup; exec "$@"'
)
