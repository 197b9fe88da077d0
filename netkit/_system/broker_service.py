"""What the broker does when asked: one method per request, whose fields are checked against a table."""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

from netkit._spec import names
from netkit._system import namespace_files, sysctl_change, sysctl_files
from netkit._system.broker_child import Order, Refused, execute, start
from netkit._system.broker_frames import REQUEST, Frame, close_all, error_value
from netkit._system.registration import Registration, register_mount
from netkit._system.worker import enter, make_namespace, there_and_back
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from netkit._system.broker_values import Value

    T = TypeVar("T")

_NETLINK_ROUTE, _KILL = 0, 9
_MOST_AT_ONCE = 100  # namespaces per request, for each is two descriptors
_NUMBERS: tuple[type, ...] = (list,)
_ORDER: dict[str, tuple[type, ...]] = {
    "directory": (bytes,),
    "umask": (int,),
    "new_session": (bool,),
    "process_group": (int,),
    "user": (int,),
    "group": (int,),
    "groups": (list, type(None)),
    "blocked": _NUMBERS,
    "ignored": _NUMBERS,
    "restore": (bool,),
    "priority": (int,),
    "processors": _NUMBERS,
    "limits": (list,),
    "targets": _NUMBERS,
}
_LISTS = {
    "groups": int, "blocked": int, "ignored": int, "targets": int, "processors": int, "limits": str,
    "programs": bytes, "argv": bytes, "environment": bytes, "paths": str, "texts": str, "keys": str,
}  # fmt: skip
# Request: its fields, and how many descriptors come with it (-1: the two of `start`, and one per target).
_REQUESTS: dict[str, tuple[dict[str, tuple[type, ...]], int]] = {
    "create": ({"count": (int,), "detects_duplicates": (bool,)}, 0),
    "socket": ({"family": (int,), "kind": (int,), "protocol": (int,)}, 1),
    "read": ({"path": (str,)}, 1),
    "read_each": ({"paths": (list,)}, 1),
    "write": ({"path": (str,), "text": (str,), "key": (str, type(None))}, 1),
    "present": ({"path": (str,)}, 1),
    "set_values": ({"paths": (list,), "texts": (list,), "keys": (list,)}, 1),
    "list": ({"path": (str,)}, 1),
    "run": ({**_ORDER, "programs": (list,), "argv": (list,), "environment": (list,)}, -1),
    "call": ({**_ORDER, "paths": (list,), "environment": (list,)}, -1),
    "signal": ({"pid": (int,), "number": (int,)}, 0),
    "register": ({"name": (str,)}, 1),
    "unregister": ({"name": (str,)}, 0),
    "open": ({"name": (str,)}, 0),
    "end_members": ({}, 1),
}


def checked(frame: Frame) -> tuple[str, dict[str, Any]]:
    """The request's name and its fields; ProtocolError for anything that is not in the table."""
    fields = dict(frame.fields())
    name = fields.pop("request", None)
    if frame.kind != REQUEST or not isinstance(name, str) or name not in _REQUESTS:
        raise ProtocolError(f"the broker knows no request {name!r}")
    wanted, count = _REQUESTS[name]
    if fields.keys() != wanted.keys():
        raise ProtocolError(f"request {name!r} has the fields {sorted(fields)}, not {sorted(wanted)}")
    for key, value in fields.items():
        _check(name, key, value, wanted[key])
    if count < 0:
        targets: Any = fields["targets"]
        count = 2 + len(targets)
    if len(frame.fds) != count:
        raise ProtocolError(f"request {name!r} came with {len(frame.fds)} descriptors, not {count}")
    return name, fields


def _check(name: str, key: str, value: Value, kinds: tuple[type, ...]) -> None:
    good = type(value) in kinds
    if isinstance(value, list) and key in _LISTS:
        good = good and all(type(each) is _LISTS[key] for each in value)
    if not good:
        raise ProtocolError(f"request {name!r}: {key} cannot be {value!r:.100}")
    numbers = value if isinstance(value, list) else [value]
    if any(isinstance(each, int) and not -1 <= each < 1 << 32 for each in numbers):
        raise ProtocolError(f"request {name!r}: {key} is out of range")
    texts = [each if isinstance(each, bytes) else each.encode(errors="replace") for each in numbers
             if isinstance(each, (bytes, str))]  # fmt: skip
    if any(b"\0" in each for each in texts):
        raise ProtocolError(f"request {name!r}: {key} contains NUL")


def _on_threads(count: int, set_up: Callable[[], int], before: int) -> list[int]:
    """Each namespace and its socket, made side by side; none where this user may have no more threads."""
    from netkit._system.makers import create_namespaces

    try:
        made = create_namespaces(count, set_up, os.close, lambda done: None, before)
    except RuntimeError:
        return []
    return [fd for pair in made for fd in pair]


class Service:
    """The broker's state: names it gave, and children whose end is to be told."""

    def __init__(self) -> None:
        self._names: dict[str, Registration] = {}
        self._children: dict[int, int] = {}
        self._made = 0

    def perform(self, frame: Frame, passed: list[int]) -> Value:
        """Do what is asked; what is to be passed back is put into ``passed``."""
        name, fields = checked(frame)
        method: Callable[[dict[str, Any], list[int], list[int]], Value] = getattr(self, "_" + name)
        return method(fields, frame.fds, passed)

    def reap(self) -> None:
        """Tell how children ended; orphans are process 1's, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            told = self._children.pop(pid, -1)
            if told >= 0:
                try:
                    os.write(told, status.to_bytes(4, "little"))
                except BrokenPipeError:
                    pass  # nobody waits for it
                finally:
                    os.close(told)

    # -- namespaces -----------------------------------------------------------------------

    def _create(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        count, detects = fields["count"], fields["detects_duplicates"]
        if not 1 <= count <= _MOST_AT_ONCE:
            raise ProtocolError(f"{count} namespaces in one request: at most {_MOST_AT_ONCE}")

        def set_up() -> int:
            if not detects:
                sysctl_files.skip_duplicate_detection()
            return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_ROUTE).detach()

        def make() -> None:
            while len(passed) < 2 * count:
                passed.extend(make_namespace(set_up))

        if count > 1:
            passed.extend(_on_threads(count, set_up, self._made))
        if not passed:
            there_and_back(make)
        self._made += count

    def _socket(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        family, kind, protocol = fields["family"], fields["kind"], fields["protocol"]
        passed.append(_inside(fds[0], lambda: socket(family, kind | SOCK_CLOEXEC, protocol).detach()))

    def _register(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> str:
        name = names.namespace_name(fields["name"])
        registration = self._names[name] = register_mount(name, fds[0], outlives=False)
        return registration.path

    def _unregister(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        registration = self._names.pop(fields["name"], None)
        if registration is not None:
            registration.remove()

    def _open(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        passed.append(namespace_files.open_name_or_path(names.namespace_name(fields["name"])))

    def _end_members(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        from netkit._system.members import kill_members

        kill_members(namespace_files.identity(fds[0]))

    # -- sysctls --------------------------------------------------------------------------

    def _read(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> str:
        return _inside(fds[0], lambda: sysctl_files.read(_net(fields)))

    def _read_each(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> Value:
        others = sysctl_files.TABLES_IN_USE.values()
        paths = [each if each in others else sysctl_files.key_path(each) for each in fields["paths"]]
        return {**_inside(fds[0], lambda: sysctl_files.read_each(paths))}

    def _write(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> bool:
        return _inside(fds[0], lambda: sysctl_files.write(_net(fields), fields["text"], fields["key"]))

    def _present(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> bool:
        return _inside(fds[0], lambda: sysctl_files.present(_net(fields)))

    def _set_values(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> Value:
        paths, texts, keys = (fields[each] for each in ("paths", "texts", "keys"))
        if not len(paths) == len(texts) == len(keys):
            raise ProtocolError(f"{len(paths)} sysctls with {len(texts)} values and {len(keys)} keys")
        wanted = [*zip(map(sysctl_files.key_path, paths), texts, keys, strict=True)]
        done, problem = _inside(fds[0], lambda: sysctl_change.set_values(wanted))
        changes: Value = [[{**before}, {**after}] for before, after in done]
        return [changes, None if problem is None else error_value(problem)]

    def _list(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> Value:
        listed = _inside(fds[0], lambda: sysctl_files.names_in(_net(fields)))
        return [*listed]

    # -- programs -------------------------------------------------------------------------

    def _run(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> Value:
        main = execute(fields["programs"], fields["argv"], fields["environment"])
        return self._start(fields, fds, passed, main)

    def _call(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> Value:
        from netkit._system.broker_call import serve_call

        last = max(fields["targets"], default=0)
        if last <= 3 or fields["targets"][-2:] != [last - 1, last]:
            raise ProtocolError(f"a call's descriptors cannot be {fields['targets']}")
        main = serve_call(last, fields["paths"], fields["environment"])
        return self._start(fields, fds, passed, main)

    def _start(
        self, fields: dict[str, Any], fds: list[int], passed: list[int], main: Callable[[], None]
    ) -> Value:
        if any(not 0 <= each < 1 << 20 for each in fields["targets"]):
            raise ProtocolError(f"descriptors {fields['targets']} are out of range")
        if not all(_is_limit(each) for each in fields["limits"]):
            raise ProtocolError(f"{fields['limits']} are no limits")
        ended, told = os.pipe2(os.O_CLOEXEC)
        try:
            pid = start(Order(fields), fds[0], fds[1], fds[2:], main)
        except BaseException as problem:
            close_all([ended, told])
            if isinstance(problem, Refused):
                return {"stage": problem.stage, "errno": problem.number}
            raise
        self._children[pid] = told
        passed.append(ended)
        try:
            passed.insert(0, os.pidfd_open(pid))
        except OSError:
            os.kill(pid, _KILL)  # nobody gets to know of it
            raise
        return {"pid": pid}

    def _signal(self, fields: dict[str, Any], fds: list[int], passed: list[int]) -> None:
        if fields["pid"] not in self._children:  # reaped already, or none of ours
            return
        if not 0 <= fields["number"] <= 64:
            raise ProtocolError(f"there is no signal {fields['number']}")
        os.kill(fields["pid"], fields["number"])


def _is_limit(text: str) -> bool:
    words = text.split(" ")  # RLIMIT_..., soft, hard: getrlimit(2)
    return len(words) == 3 and all(each.removeprefix("-").isdecimal() for each in words)


def _inside(namespace: int, call: Callable[[], T]) -> T:
    def there() -> T:
        enter(namespace)
        return call()

    return there_and_back(there)


def _net(fields: dict[str, Any]) -> str:
    """The path, checked again: only below /proc/sys/net."""
    return sysctl_files.key_path(fields["path"])
