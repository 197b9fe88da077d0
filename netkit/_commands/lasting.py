"""`netkit up` and `netkit down`: a network that outlives the command that made it.

Each namespace of the plan becomes one of `ip netns add`, under its name in the plan, and all else is in
these. A record in /run/netkit/up says which ones they are, by the kernel's numbers too: `down` deletes
nothing that has been put in their place.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

from netkit import Namespace, Scope, Topology
from netkit._display.texts import printable
from netkit._spec.names import namespace_name
from netkit._spec.value import shown, shown_path
from netkit._system.members import members_of
from netkit._system.mode import is_rootless
from netkit._topology.values import BridgePlan, NamespacePlan
from netkit.errors import NotFoundError, SpecError, UnsupportedError, kernel_error

DIRECTORY = "/run/netkit/up"


class Record(NamedTuple):
    """What is up: the file it was made from, and its namespaces by name with the kernel's numbers."""

    name: str
    file: str
    namespaces: Mapping[str, str]


def load(file: str) -> Topology:
    """The plan in a file. Raises SpecError for one that cannot be read."""
    try:
        return Topology.load(file)
    except OSError as problem:
        raise SpecError(f"{shown_path(file)}: {problem.strerror}") from None


def up(file: str, name: str | None = None) -> Record:
    """Build the topology of a file and leave it; all or nothing."""
    plan = registered(load(file))
    called = namespace_name(name if name is not None else os.path.splitext(os.path.basename(file))[0], "name")
    if is_rootless():
        hint = "Without root it would end with this command; in the shell of `netkit unshare -- sh` it stays"
        raise UnsupportedError(f"bring '{called}' up", errno.EPERM, hint=hint)
    path = _reserve(called)
    try:
        network = plan.create()
        places = {each.name or "": each._live_runtime().place for each in network._namespaces.values()}
        record = Record(called, os.path.realpath(file), places)
        _write(path, record)  # before it is nobody's: from then on `down` finds it
        network.detach()
    except BaseException:
        os.unlink(path)
        raise
    return record


def registered(plan: Topology) -> Topology:
    """The same plan with a name for each namespace: only what has one can stay."""
    named = copy(plan)
    for each in plan.namespaces.values():
        if each.named is False:
            named._put_namespace(
                NamespacePlan(each.name, True, each.forwarding, each.sysctls, each.routes, each.nat)
            )
    for bridge in plan.bridges.values():
        if bridge.namespace is None:
            home = f"/{bridge.name}"  # no name that a plan can have
            named._put_namespace(NamespacePlan(home, bridge.name))
            named._put_bridge(
                BridgePlan(
                    bridge.name, home, bridge.device, bridge.address, bridge.subnet, bridge.options
                )
            )  # fmt: skip
    return named


def down(what: str | None) -> tuple[Record, list[str]]:
    """Take down what `up` made, by its name or file; also returns what was left alone, and why."""
    record = _found(what)
    left: list[str] = []
    with Scope() as scope:
        for name, place in record.namespaces.items():
            try:
                netns = Namespace.open(name)
            except NotFoundError:
                continue
            if netns._live_runtime().place != place:
                left.append(f"'{name}' is another namespace now: left alone")
                netns.close()
                continue
            left += _still_inside(name, netns)
            scope.own(netns.adopt())
    with suppress(FileNotFoundError):  # a second `down` was quicker
        os.unlink(_path(record.name))
    return record, left


def _still_inside(name: str, netns: Namespace) -> list[str]:
    """Programs are not ours to end; as with `ip netns delete`, the namespace goes when they do."""
    identity = netns._identity_or_none()
    pids = members_of(identity) if identity is not None else []
    if not pids:
        return []
    more = ", ..." if len(pids) > 4 else ""
    programs = ", ".join([f"{pid}{_command_of(pid)}" for pid in pids[:4]]) + more
    return [f"'{name}' has no name any more, but lives until what runs in it ends: {programs}"]


def _command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({printable(file.read().rstrip())})"
    except OSError:
        return ""  # it has ended just now


def records() -> Iterator[Record]:
    """All that is up."""
    try:
        names = sorted([name for name in os.listdir(DIRECTORY) if not name.startswith(".")])
    except OSError:
        return
    for name in names:
        data: dict[str, Any] = {}
        with suppress(OSError, ValueError), open(_path(name), encoding="utf-8") as file:
            data = json.load(file)  # nothing yet, while it is brought up
        yield Record(name, str(data.get("file", "")), data.get("namespaces", {}))


def _found(what: str | None) -> Record:
    there = list(records())
    if what is None and len(there) == 1:
        return there[0]
    file = os.path.realpath(what or "")
    matching = [each for each in there if each.name == what] or [each for each in there if each.file == file]
    if len(matching) == 1:
        return matching[0]
    up = f"Up are: {', '.join([each.name for each in there])}" if there else "Nothing is up"
    if what is None:
        raise SpecError(f"down what? {up}")
    if matching:
        raise SpecError(
            f"{shown_path(what)} is up {len(matching)} times: {', '.join([each.name for each in matching])}"
        )
    raise NotFoundError(f"take {shown(what)} down", errno.ENOENT, hint=up)


def _path(name: str) -> str:
    return f"{DIRECTORY}/{name}"


def _reserve(name: str) -> str:
    """An empty record: nobody else brings up something of this name meanwhile."""
    try:
        os.makedirs(DIRECTORY, 0o755, exist_ok=True)
        os.close(os.open(_path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except OSError as problem:
        hint = (
            f"`netkit down {name}` takes it down" if problem.errno == errno.EEXIST else f"{DIRECTORY}/{name}"
        )
        raise kernel_error(f"bring '{name}' up", problem.errno or 0, hint=hint) from None
    return _path(name)


def _write(path: str, record: Record) -> None:
    new = f"{DIRECTORY}/.{record.name}.new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump({"file": record.file, "namespaces": dict(record.namespaces)}, file)
    os.replace(new, path)
