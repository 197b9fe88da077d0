"""What processes that override one sysctl share: a file with the old values, locked by each user."""

from __future__ import annotations

import fcntl
import os
from errno import EMFILE, ENFILE

from netkit._system.mode import is_rootless
from netkit._system.signals import admitted_signals
from netkit.errors import kernel_error

DIRECTORY = "/run/netkit/sysctl"


def directory() -> str:
    """Where the files are: without root in the broker's /run, which programs inside see, too."""
    if is_rootless():
        from netkit._system import broker

        running = broker.running()
        if running is not None:
            return f"/proc/{running.pid}/root{DIRECTORY}"
    return DIRECTORY


class Record:
    """The values before the first override and after the last write of one, by path.

    ``place`` says of which namespace they are: inode numbers, and so file names, are used again.
    """

    __slots__ = ("after", "before", "place")

    def __init__(self, place: str = "") -> None:
        self.place = place
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def text(self) -> bytes:
        """One line per value: B or A, the path, the value. (json would cost 4 ms to import.)"""
        lines = [f"N {self.place}\n"] if self.place else []
        lines += [f"B {path} {value}\n" for path, value in self.before.items()]
        lines += [f"A {path} {value}\n" for path, value in self.after.items()]
        return "".join([*lines, "\n"]).encode(errors="surrogateescape")

    def read(self, text: bytes) -> None:
        """The inverse of `text`; what is of another namespace does not count.

        What follows its empty line is of an earlier and longer one.
        """
        self.before, self.after = {}, {}
        for line in filter(None, text.decode(errors="surrogateescape").partition("\n\n")[0].split("\n")):
            kind, _, rest = line.partition(" ")
            path, _, value = rest.partition(" ")
            if kind == "N" and self.place and rest != self.place:
                return
            if kind in ("A", "B"):
                (self.before if kind == "B" else self.after)[path] = value


class SharedRecord:
    """One process's part in the record of a (namespace, key).

    Each user holds a shared flock on the file; to begin or end, the directory is locked too, since
    turning a shared lock into an exclusive one lets others in between (flock(2)). Where
    /run/netkit cannot be written, the record is this process's own.
    """

    def __init__(self, identity: tuple[int, int], path: str, alone: bool, place: str = "") -> None:
        device, inode = identity
        self.record = Record(place)
        self._key, self._place = path, place
        self._noted = 0
        self._name = f"{device}-{inode}-{path.replace('/', '%')}"
        self._shares = not alone
        self._file = -1
        self._locked = False

    def enter(self) -> bool:
        """Lock the directory and read the record; whether no other process has a part in it."""
        alone = True
        if self._file < 0 and self._shares and _open_directory():
            self._lock()
            self._note("")  # what was before is in the file, which is this process's to remove from now on
            self._file = self._open()
            alone = self._is_alone()
            fcntl.flock(self._file, fcntl.LOCK_SH)
        self.load()
        return alone

    def _note(self, text: str) -> None:
        """In the journal: who reads it gives the old values back."""
        if self._place:
            from netkit._system.entries import SYSCTL
            from netkit._system.journal import note, strike

            before, self._noted = self._noted, note(SYSCTL, self._place, self._key, text)
            strike(before)

    def load(self) -> None:
        """Lock the directory and read what the others have written."""
        if self._file < 0:
            return
        self._lock()
        text = os.pread(self._file, os.fstat(self._file).st_size, 0)
        if text:
            self.record.read(text)

    @property
    def is_read(self) -> bool:
        """Whether others read the record, or whoever cleans up behind this process."""
        return self._file >= 0 or bool(self._place)

    def save(self) -> None:
        """Write the record for the others; who reads it has locked the directory."""
        if self._file < 0:
            if self._place:
                self._note(self.record.text().decode(errors="surrogateescape"))
            return
        text = self.record.text()
        os.pwrite(self._file, text, 0)  # over the one before, which must not be lost if this is the last call
        os.ftruncate(self._file, len(text))

    def is_last(self) -> bool:
        """Lock, read, and tell whether no other process has a part; if one has, this one's is over."""
        self.load()
        return self._file < 0 or self._is_alone()

    def stay(self) -> None:
        """After `is_last`, before `release`: this process has a part in it still."""
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove the file, after `is_last` and before `release`."""
        if self._file >= 0:
            os.unlink(self._name, dir_fd=_directory)

    def release(self) -> None:
        """Let others begin and end."""
        if self._locked:
            self._locked = False
            fcntl.flock(_directory, fcntl.LOCK_UN)

    def drop(self) -> None:
        """Close the file and nothing else: unlocking would unlock it for a forked relative too."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        noted, self._noted = self._noted, 0
        if noted:
            from netkit._system.journal import strike

            strike(noted)

    def _open(self) -> int:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(self._name, flags, 0o600, dir_fd=_directory)
        except OSError as error:
            raise kernel_error(
                "share the old value of a sysctl with other processes",
                error.errno or 0,
                # errors.py names the limit that EMFILE is about
                hint=None if error.errno in (EMFILE, ENFILE) else f"The file is {_opened}/{self._name}",
            ) from None

    def _lock(self) -> None:
        if not self._locked and _directory >= 0:  # not there: its broker has ended, and so the namespace
            self._locked = True  # first: a signal may take effect just when it is
            with admitted_signals():
                fcntl.flock(_directory, fcntl.LOCK_EX)

    def _is_alone(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_directory = -1
_opened = ""


def _open_directory() -> bool:
    """Open the directory once and keep it: ending an override must not need a free descriptor."""
    global _directory, _opened
    path = directory()
    if _directory >= 0 and _opened != path:  # that of a broker which has ended, and all it held
        close_directory()
    if _directory < 0:
        try:
            os.makedirs(path, 0o755, exist_ok=True)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        if not os.access(path, os.W_OK):
            os.close(fd)
            return False
        _directory, _opened = fd, path
    return True


def close_directory() -> None:
    """In a child, since the open file, and so the lock, is shared with the parent; and with its broker."""
    global _directory
    if _directory >= 0:
        os.close(_directory)
        _directory = -1
