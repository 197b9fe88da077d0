"""Who is who in a user namespace: its user and group maps (user_namespaces(7)).

Every user may map himself to root. More than that, so that servers which drop their privileges find
other users there, takes newuidmap(1) and a range of subordinate ids in /etc/subuid and /etc/subgid.
newuidmap must run outside the user namespace, so a child made before does that.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TOOLS = (("/etc/subuid", "newuidmap"), ("/etc/subgid", "newgidmap"))
_DIRECTORIES = ("/usr/bin", "/usr/local/bin", "/bin")


class Mapper:
    """Writes the maps of the calling process, from before `map` on in a user namespace of its own.

    For a process with one thread: it forks. `close` ends the child in any case.
    """

    def __init__(self) -> None:
        self._user, self._group = os.geteuid(), os.getegid()
        self._commands = range_commands(os.getpid(), self._user, self._group)
        self._child = 0
        self._order = self._answer = -1
        if self._commands:
            self._fork(self._commands)

    def map(self) -> None:
        """Map the user to root: with a range where that can be had, else alone. OSError if refused."""
        if self._child and self._ranges():
            return
        _write("setgroups", "deny")  # else gid_map is refused
        _write("uid_map", f"0 {self._user} 1")
        _write("gid_map", f"0 {self._group} 1")

    def close(self) -> None:
        """End the child."""
        if self._child:
            os.close(self._order)  # one that still waits ends by it
            os.close(self._answer)
            os.waitpid(self._child, 0)
            self._child = 0

    def _ranges(self) -> bool:
        os.write(self._order, b"\n")
        # All or nothing: with the one map but not the other, writing single ids would be refused.
        return os.read(self._answer, 1) == b"1"

    def _fork(self, commands: list[list[str]]) -> None:
        ordered, self._order = os.pipe2(os.O_CLOEXEC)
        self._answer, answers = os.pipe2(os.O_CLOEXEC)
        self._child = os.fork()
        if self._child == 0:
            os.close(self._order)
            os.close(self._answer)
            _child(lambda: os.read(ordered, 1) != b"", commands, answers)
        os.close(ordered)
        os.close(answers)


def _child(ordered: Callable[[], bool], commands: list[list[str]], answers: int) -> None:
    status = 1
    try:
        if ordered():
            done = all(_succeeds(command) for command in commands)
            os.write(answers, b"1" if done else b"0")
            status = 0
    finally:
        os._exit(status)


def _succeeds(command: list[str]) -> bool:
    silence = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=silence)
    return os.waitpid(pid, 0)[1] == 0


def range_commands(pid: int, user: int, group: int) -> list[list[str]]:
    """The newuidmap and newgidmap commands that map a range as well; none where that is not to be had."""
    commands: list[list[str]] = []
    for (file, tool), own in zip(_TOOLS, (user, group), strict=True):
        path = next((f"{each}/{tool}" for each in _DIRECTORIES if os.access(f"{each}/{tool}", os.X_OK)), None)
        found = subordinate_ids(_text(file), user)
        if path is None or found is None:
            return []
        start, count = found
        commands.append([path, str(pid), "0", str(own), "1", "1", str(start), str(count)])
    return commands


def subordinate_ids(text: str, user: int) -> tuple[int, int] | None:
    """The largest range of a user in the text of /etc/subuid or /etc/subgid (subuid(5))."""
    owners = {str(user), _name_of(user)}
    ranges: list[tuple[int, int]] = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if owner in owners and start.isdecimal() and count.isdecimal() and int(count) > 0:
            ranges.append((int(start), int(count)))
    return max(ranges, key=lambda each: each[1], default=None)


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
