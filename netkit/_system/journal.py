"""What would outlive this process, noted before it is made: for the guard, and for `netkit gc`.

One append-only file per process in /run/netkit/journal, locked (flock) as long as its owner or the
owner's guard lives. A line says what is about to be made and how it is known, a second one that it is
gone. Each is one write(2), so that a SIGKILL leaves at most an unfinished last line, and then nothing
was made for it yet. Where /run cannot be written, the file has no name, and only the guard reads it.

Nothing is noted that the kernel ends with the process, and the first note starts the guard.
"""

from __future__ import annotations

import os
from _thread import RLock
from errno import ENOSPC
from fcntl import F_GETFL, F_SETFL, LOCK_EX, LOCK_NB, fcntl, flock

from netkit._system.held_places import HeldPlaces
from netkit._system.journal_lines import HEADER_WORD, line, read_entry, strike_line
from netkit._system.signals import deferred_signals
from netkit.errors import kernel_error, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._system.journal_lines import Entry
    from netkit._system.orphan import Orphan

DIRECTORY = "/run/netkit/journal"
# A file of this size is written anew with what is still there; 20 000 lines or so.
_LARGEST = 1 << 20
_NOTING = "note in the journal what is about to be made, so that it can be removed if this process is killed"
_GROWTH = 4  # and a larger one, when it has grown by this factor


class Journal:
    """The journal of this process, with its guard."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._file = -1
        self._path = ""
        self._size = self._limit = 0
        self._number = 0
        self._open: dict[int, bytes] = {}
        self._guard: Orphan | None = None
        self._held = HeldPlaces()
        self._tag = ""
        self.owner = ""

    def note(self, kind: str, *words: str | int) -> int:
        """Note what is about to be made; returns the number by which `strike` takes it out."""
        with self._lock:
            self._number += 1
            number = self._number
            written = self._open[number] = line(number, kind, words)
            try:
                if self._file < 0 or self._size > self._limit:
                    # Interrupted half-way, a file or a guard would be nobody's.
                    with naming_limits(_NOTING), deferred_signals():
                        self._begin()
                else:
                    self._write(written)
                    self._renew_guard()
            except BaseException:
                self._open.pop(number, None)
                raise
            return number

    def strike(self, number: int) -> None:
        """What was noted is gone, or not ours any more. A second time is nothing."""
        with self._lock:
            if self._open.pop(number, None) is not None and self._file >= 0:
                self._write(strike_line(number))

    def entries(self) -> list[Entry]:
        """What is noted now, as whoever reads the file understands it."""
        with self._lock:
            return [read_entry(each) for each in self._open.values()]

    def hold(self, place: str, fd: int) -> None:
        """Something is going to be noted in a namespace of others: the guard will find it in any case."""
        if place not in self._held:
            with self._lock, deferred_signals():
                self._held.hold(place, fd)

    def release(self, place: str) -> None:
        """Nothing of ours is noted in it any more."""
        with self._lock, deferred_signals():
            self._held.release(place)

    def end(self) -> bool:
        """End the guard, if there is nothing to guard; whether that was so."""
        with deferred_signals(), self._lock:
            if self._open:
                return False
            self._close()
            return True

    def abandon(self) -> None:
        """End the guard though something could not be removed: the file stays, for `netkit gc`."""
        with deferred_signals(), self._lock:
            self._open.clear()
            self._close(leave=True)

    def tag(self, group: int) -> str:
        """Who this is, for a mark on a link of this group: owner, start, pid namespace, boot."""
        if not self._tag:
            self._tag = f"netkit:{self.owner}:{start_time()}:{pid_namespace()}:{boot()[:8]}"
        return f"{self._tag}:{group}"

    @property
    def noted(self) -> int:
        """How many things are noted now."""
        return len(self._open)

    @property
    def guard_pid(self) -> int | None:
        """The guard's process id, or None."""
        return None if self._guard is None else self._guard.pid

    @property
    def path(self) -> str:
        """The file, or an empty text if it has no name."""
        return self._path

    def _begin(self) -> None:
        """A file with what is noted, a guard that reads it, and then its name: in this order.

        Killed in between, there is a guard, or nothing with a name.
        """
        from netkit._system.guard import start

        before = self._file, self._path, self._guard
        self.owner = self.owner or f"{os.getpid()}-{os.urandom(6).hex()}"
        file, directory = _new_file()
        path = f"{directory}/{self.owner}-{self._number}" if directory else ""
        try:
            flock(file, LOCK_EX | LOCK_NB)
            self._file, self._path, self._size = file, path, 0
            self._write(_header(self.owner) + b"".join(self._open.values()))
            self._limit = max(_LARGEST, _GROWTH * self._size)
            self._guard = start(file, path, self._held.reader())
            if path and not _give_name(file, directory, path):
                self._path = ""
        except BaseException:
            self._file, self._path, self._guard = before
            os.close(file)
            raise
        _end(*before)

    def _renew_guard(self) -> None:
        """Who kills the guard (a want of memory, a person) leaves what is noted with another one."""
        if self._guard is not None and not self._guard.lives():
            from netkit._system.guard import start

            self._guard.end()
            self._guard = start(self._file, self._path, self._held.reader())

    def _write(self, data: bytes) -> None:
        try:
            done = os.write(self._file, data)
        except OSError as problem:
            raise _unwritable(problem.errno or 0, self._path) from None
        if done != len(data):  # no room for the rest: what is there would spoil the next line
            os.ftruncate(self._file, self._size)
            raise _unwritable(ENOSPC, self._path)
        self._size += done

    def _close(self, leave: bool = False) -> None:
        path = "" if leave else self._path
        _end(self._file, path, self._guard)
        self._file, self._path, self._size, self._guard = -1, "", 0, None
        self._held.close()

    def forget(self) -> None:
        """In a child after fork: the file and the guard are the parent's."""
        if self._file >= 0:
            os.close(self._file)  # unlocking it would unlock it for the parent
        if self._guard is not None:
            self._guard.forget()
        self._held.close()
        number = self._number  # of the parent's things, which are none of this journal
        self.__init__()  # type: ignore[misc]
        self._number = number


def _new_file() -> tuple[int, str]:
    """A file without a name, and the directory that can give it one, if any."""
    try:
        os.makedirs(DIRECTORY, 0o755, exist_ok=True)
        flags = os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        return os.open(DIRECTORY, flags, 0o600), DIRECTORY
    except OSError:
        file = os.memfd_create("netkit-journal", os.MFD_CLOEXEC)
        fcntl(file, F_SETFL, fcntl(file, F_GETFL) | os.O_APPEND)
        return file, ""


def _give_name(file: int, directory: str, path: str) -> bool:
    """linkat(2) of an O_TMPFILE, for which Python wants some directory descriptor."""
    held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=held, follow_symlinks=True)
    except OSError:
        return False  # the guard has it, without a name
    finally:
        os.close(held)
    return True


def _header(owner: str) -> bytes:
    """Who writes; the process's start and the boot are for people: what counts is the lock."""
    return f"{HEADER_WORD} 1 {owner} {os.getpid()} {start_time()} {pid_namespace()} {boot()}\n".encode()


def start_time(pid: int | str = "self") -> str:
    """When a process began, in clock ticks since boot (field 22 of proc_pid_stat(5)); empty if it is dead."""
    try:
        with open(f"/proc/{pid}/stat") as status:
            fields = status.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def pid_namespace() -> int:
    """The pid namespace in which this process's number means something."""
    return os.stat("/proc/self/ns/pid").st_ino


def boot() -> str:
    """This boot's id."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "-"


def _end(file: int, path: str, guard: Orphan | None) -> None:
    if path:  # while the guard lives: killed in between, the file would stay
        try:
            os.unlink(path)
        except OSError:
            pass  # somebody was quicker
    if guard is not None:
        guard.end()
    if file >= 0:
        os.close(file)


def _unwritable(number: int, path: str) -> OSError:
    return kernel_error(_NOTING, number, hint=f"The file is {path or 'a memfd'}")


journal = Journal()
note, strike = journal.note, journal.strike
os.register_at_fork(after_in_child=journal.forget)
