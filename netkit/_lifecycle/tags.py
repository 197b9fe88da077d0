"""Links that a dead process has made, found by their alias where its journal is lost.

The alias alone is no proof, for anybody can set one: it also has to name the link's group, which netkit
chose at random, and a process of this boot and pid namespace that is known to be dead.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

from netkit._lifecycle.reclaim import FAILED, GONE, REMOVED, Finding
from netkit._netlink.link import delete_link, list_links, parse_link
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_ROUTE
from netkit._system import namespace_files as nsfs
from netkit._system.journal import boot, pid_namespace, start_time
from netkit._system.syscalls import CLONE_NEWNET, setns
from netkit.errors import NetkitError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from netkit._netlink.link import LinkRecord

PREFIX = "netkit:"


def owner_by_tag(record: LinkRecord) -> str | None:
    """Who made a link, if that is a process that is known to be dead; see `Journal.tag`."""
    words = (record.alias or "").split(":")
    if len(words) != 6 or f"{words[0]}:" != PREFIX:
        return None
    owner, start, namespace, began, group = words[1:]
    pid = owner.partition("-")[0]
    if not (pid.isdigit() and record.group and group == str(record.group)):
        return None
    if began != boot()[:8] or namespace != str(pid_namespace()) or start_time(pid) == start:
        return None
    return owner


def tagged_links(dry_run: bool, known: Collection[str]) -> Iterator[tuple[str, Finding]]:
    """Those of the calling thread's namespace and of the named ones; it enters them, and comes back."""
    yield from links_here(dry_run, known)
    home = nsfs.open_current()
    try:
        for fd in _named(nsfs.identity(home)):
            try:
                setns(fd, CLONE_NEWNET)
            except OSError:
                continue  # without the capability there is nothing that we may remove
            finally:
                os.close(fd)
            try:
                yield from links_here(dry_run, known)
            finally:
                setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def _named(home: tuple[int, int]) -> Iterator[int]:
    try:
        names = sorted(os.listdir(nsfs.NETNS_DIRECTORY))
    except OSError:
        return
    for name in names:
        try:
            fd = nsfs.open_name_or_path(name)
        except (NetkitError, OSError):
            continue  # stale, or no namespace
        if nsfs.identity(fd) == home:
            os.close(fd)
        else:
            yield fd


def links_here(dry_run: bool, known: Collection[str]) -> Iterator[tuple[str, Finding]]:
    """Those of the calling thread's namespace."""
    sock = NetlinkSocket(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE))
    groups: set[int] = set()  # of what was removed: both ends of a pair have one
    try:
        for record in [parse_link(reply) for reply in sock.dump(list_links())]:
            owner = owner_by_tag(record)
            if owner is not None and owner not in known:
                yield owner, _removed(sock, record, groups, dry_run)
    finally:
        sock.close()


def _removed(sock: NetlinkSocket, record: LinkRecord, groups: set[int], dry_run: bool) -> Finding:
    what = f"{record.kind} '{record.name}', by its alias"
    try:
        if not dry_run:
            sock.request(delete_link(record.index))
    except NotFoundError:  # with its peer, or another collector was quicker
        return Finding(None, what, REMOVED if record.group in groups else GONE)
    except NetkitError as problem:
        return Finding(None, what, FAILED, str(problem))
    groups.add(record.group)
    return Finding(None, what, REMOVED)
