"""A /run of its own, for the names of namespaces, the xtables lock and the journals.

What a program needs of the machine's is there as before: the user's own directory (XDG_RUNTIME_DIR of
pam_systemd(8)), where /etc/resolv.conf leads to, NixOS's programs, and Python itself. The rest is root's: a
program that is root inside makes its directory there, and could not do so where root's is.
"""

from __future__ import annotations

import os
import sys

from netkit._system.refusals import refused
from netkit._system.syscalls import MS_BIND, MS_REC, MS_SLAVE, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RUN = "/run"
_OWN = ("netns", "netkit", "xtables.lock")
_OF_NIXOS = ("current-system", "booted-system", "wrappers", "opengl-driver")


def make_run_private(told: Sequence[str] = ()) -> None:
    """For a process in a mount namespace of its own: what is mounted from now on stays here.

    What is unmounted outside goes here, too: a broker holds no file system that somebody wants to take away.
    """
    try:
        needed = sorted(set(_needed()))
        mount("none", "/", MS_REC | MS_SLAVE)
        before = os.open(_RUN, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount("tmpfs", _RUN, 0, "tmpfs", "mode=755")
            os.mkdir(f"{_RUN}/netns", 0o755)
            for each in needed:
                _keep(f"/proc/self/fd/{before}", each)
        finally:
            os.close(before)
    except OSError as problem:
        raise refused("mount a /run of its own", problem, told) from None


def _needed() -> Iterable[str]:
    """Paths below /run, without it."""
    yield f"user/{_user_outside()}"
    yield from _OF_NIXOS
    package = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    resolver = os.path.dirname(os.path.realpath("/etc/resolv.conf"))
    for path in (
        resolver,
        package,
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
    ):
        if path.startswith(f"{_RUN}/") and path.split("/")[2] not in _OWN:
            yield path.removeprefix(f"{_RUN}/")


def _user_outside() -> int:
    """Whose user namespace this is; the user's own number where it is not one."""
    with open("/proc/self/uid_map") as file:
        inside, outside, _ = map(int, file.readline().split())
    return os.geteuid() - inside + outside


def _keep(before: str, path: str) -> None:
    """Show there what was there; what the user cannot reach stays hidden."""
    source, target = f"{before}/{path}", f"{_RUN}/{path}"
    if os.path.lexists(target):
        return  # in a directory that is kept
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.makedirs(target, 0o755)
        mount(source, target, MS_BIND | MS_REC)
