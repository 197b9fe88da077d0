"""One sysctl: its key, reading and writing it on a thread that is inside the namespace."""

from __future__ import annotations

import errno
import os
from _thread import get_ident

from netkit._spec.value import shown, type_of
from netkit._system.namespace_files import open_current
from netkit._system.privilege import missing_capability
from netkit.errors import KernelError, NotFoundError, SpecError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeVar

    from netkit._system.fresh_proc import FreshProc
    from netkit._system.sysctl_change import Outcome, Wanted

    T = TypeVar("T")

    class Elsewhere(Protocol):
        """Who does for a thread what it may not do itself: the broker."""

        def read(self, path: str) -> str: ...
        def read_each(self, paths: list[str]) -> dict[str, str]: ...
        def present(self, path: str) -> bool: ...
        def names_in(self, path: str) -> list[str]: ...
        def write(self, path: str, text: str, key: str | None) -> bool: ...
        def set_values(self, wanted: Sequence[Wanted]) -> Outcome: ...


DIRECTORY = "/proc/sys"
# Files of a namespace that are read like its sysctls: the tables of iptables-legacy that somebody has used.
TABLES_IN_USE = {4: "../thread-self/net/ip_tables_names", 6: "../thread-self/net/ip6_tables_names"}
_elsewhere: dict[int, Elsewhere] = {}
fresh_procs: dict[int, FreshProc] = {}  # of threads that make so many namespaces that it counts
_PAGE = 4096
_USUAL, _LONGEST = 512, 65536  # the kernel clears a buffer of this size for each read
_ALL_DETECTION = "net/ipv6/conf/all/accept_dad"
_DEFAULT_DETECTION = "net/ipv6/conf/default/accept_dad"
_all_skips: list[bool] = []  # whether new namespaces have 0 for `all`, once it is known


def key_path(key: str) -> str:
    """A key of sysctl(8) as a path below /proc/sys.

    Whichever of dot and slash comes first separates, the other belongs to a name:
    ``net.ipv4.conf.eth0/100.forwarding`` and ``net/ipv4/conf/eth0.100/forwarding`` are the same.
    """
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"sysctl key {shown(key)} is {type_of(key)}: a key is a str")
    separators = [character for character in key if character in "./"]
    path = key.translate({46: "/", 47: "."}) if separators[:1] == ["."] else key
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise SpecError(f"sysctl key {shown(key)} has a part {part!r}: write it as net.ipv4.ip_forward")
    if (not key.isprintable() or " " in key) and any(ord(character) <= 32 for character in key):
        raise SpecError(f"sysctl key {shown(key)} contains a space or a control character")
    _refuse_unwritable(key, "key")
    if not path.startswith("net/"):  # to set one would change the machine
        raise SpecError(f"sysctl key {shown(key)} belongs to no network namespace: only net.* does")
    return path


def _refuse_unwritable(text: str, what: str) -> None:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise SpecError(f"sysctl {what} {shown(text)} cannot be written in UTF-8") from None


def key_of(path: str) -> str:
    """The path as a key for people: with dots where that is unambiguous."""
    return path if "." in path else path.replace("/", ".")


def value_text(value: str | int) -> str:
    """A value as it is written: a str of one line, or an int (True is 1)."""
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"sysctl value {shown(value)} is {type_of(value)}: give a str or an int")
    _refuse_unwritable(value, "value")
    text = value.strip()
    if "\0" in text:
        raise SpecError(f"sysctl value {shown(value)} contains NUL")
    if any(character in text for character in "\n\r"):
        raise SpecError(f"sysctl value {shown(value)} has more than one line")
    return text


def read(path: str) -> str:
    """The value, without the newline at its end. Missing: NotFoundError. Source: proc_sys(5)."""
    if by := _elsewhere.get(get_ident()):
        return by.read(path)
    try:
        return _read(f"{DIRECTORY}/{path}")
    except OSError as error:
        raise _refused(f"read sysctl {key_of(path)}", path, error) from None


def read_each(paths: list[str]) -> dict[str, str]:
    """The values of those that are there: a device may have gone meanwhile."""
    if by := _elsewhere.get(get_ident()):
        return by.read_each(paths)
    if not paths:
        return {}
    # One walk to `net`, which the kernel compares with that of every other namespace (proc_sys_compare in
    # fs/proc/proc_sysctl.c): among a thousand that takes longer than all the rest.
    start = "net/"
    directory = os.open(f"{DIRECTORY}/{start}", os.O_PATH | os.O_CLOEXEC)
    try:
        return {
            path: value for path in paths if (value := _value_if_there(path, start, directory)) is not None
        }
    finally:
        os.close(directory)


def _value_if_there(path: str, start: str, directory: int) -> str | None:
    # TABLES_IN_USE are not below it: an absolute path takes no notice of the directory
    way = path.removeprefix(start) if path.startswith(start) else f"{DIRECTORY}/{path}"
    try:
        return _read(way, directory)
    except OSError as error:
        refusal = _refused(f"read sysctl {key_of(path)}", path, error)
        if isinstance(refusal, NotFoundError):
            return None
        raise refusal from None


def present(path: str) -> bool:
    """Whether there is such a key here."""
    if by := _elsewhere.get(get_ident()):
        return by.present(path)
    return os.path.isfile(f"{DIRECTORY}/{path}")


def names_in(path: str) -> list[str]:
    """The names in a directory of keys, such as the devices in net/ipv4/conf."""
    if by := _elsewhere.get(get_ident()):
        return by.names_in(path)
    try:
        return os.listdir(f"{DIRECTORY}/{path}")
    except OSError as error:
        raise _refused(f"list the sysctls in {key_of(path)}", path, error) from None


def elsewhere() -> Elsewhere | None:
    """Who reads and writes for this thread, if not itself."""
    return _elsewhere.get(get_ident())


def done_elsewhere(by: Elsewhere, function: Callable[[], T]) -> T:
    """Call a function of ours on this thread; the sysctls it reads and writes are those of ``by``."""
    _elsewhere[get_ident()] = by
    try:
        return function()
    finally:
        del _elsewhere[get_ident()]


def write(path: str, text: str, key: str | None = None, before: str | None = None) -> bool:
    """Set the value if it differs; whether it did. Needs CAP_NET_ADMIN over the namespace for net.*.

    ``key`` is what a refusal calls it, where one value has two keys; ``before`` what was read just now.
    """
    if by := _elsewhere.get(get_ident()):
        return by.write(path, text, key)
    if before is None:
        before = _value_or_none(path)
    if before is not None and before.split() == text.split():
        return False
    try:
        fd = os.open(f"{DIRECTORY}/{path}", (os.O_WRONLY if before is None else os.O_RDWR) | os.O_CLOEXEC)
        try:
            _set(fd, text, before)
        finally:
            os.close(fd)
    except OSError as error:
        raise _refused_write(path, text, key, before, error) from None
    return True


def replace(path: str, text: str, key: str) -> tuple[str, str]:
    """`write` here, and the values before and after: in one walk to the file."""
    try:
        fd = os.open(f"{DIRECTORY}/{path}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # missing, or not to be written: what is said about it depends on what it is
        found = read(path)
        return found, read(path) if write(path, text, key, found) else found
    before: str | None = None
    try:
        before = _value(fd)
        if before.split() == text.split():
            return before, before
        _set(fd, text, before)
        return before, _value(fd)
    except OSError as error:
        raise _refused_write(path, text, key, before, error) from None
    finally:
        os.close(fd)


def _set(fd: int, text: str, before: str | None) -> None:
    # Of net.ipv6.conf.*.ignore_routes_with_linkdown Linux 6.1 says that one byte was taken, whatever was
    # written (addrconf_fixup_linkdown in net/ipv6/addrconf.c): what it is now decides.
    if not _write(fd, text) and (before is None or _value(fd).split() != text.split()):
        if before is not None:
            _write(fd, before)
        raise OSError(errno.EINVAL, "more than this key takes")


def _refused_write(path: str, text: str, key: str | None, before: str | None, error: OSError) -> KernelError:
    hint = "" if before is None else f"It is {shown(before)}"
    return _refused(f"set sysctl {key or key_of(path)} to {shown(text)}", path, error, hint)


def skip_duplicate_detection() -> None:
    """No detection of duplicate IPv6 addresses: nobody else is in a namespace of ours.

    It is off if both ``all`` and the device's own value, which ``default`` gives it, are 0. The kernel
    gives each new namespace the same ``all``: usually 0 (net/ipv6/addrconf.c), so one look is enough.
    """
    try:
        if not _all_skips:
            _skip_for_all()
        _put(_DEFAULT_DETECTION)
    except OSError:
        return  # no IPv6 in this kernel; or read-only /proc/sys: addresses are added with nodad anyway


def _skip_for_all() -> None:
    if _value_or_none(_ALL_DETECTION) == "0":
        _all_skips.append(True)
    else:
        _put(_ALL_DETECTION)


def _put(path: str) -> None:
    """Write a 0. The fewest calls: each lets another thread of the interpreter go first."""
    own = fresh_procs.get(get_ident())
    root = None if own is None else own.descriptor()
    name = f"{DIRECTORY}/{path}" if root is None else f"sys/{path}"
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=root)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def _write(fd: int, text: str) -> bool:
    """Whether all of it was taken: of ``1 2`` a key with one number takes the 1."""
    line = (text + "\n").encode(errors="surrogateescape")
    taken = os.pwrite(fd, line, 0)
    while 0 < taken < len(line) and len(line) >= _PAGE:  # long lists are taken by the page
        more = os.pwrite(fd, line[taken:], taken)
        taken = taken + more if more else len(line) + 1
    return taken == len(line)


def _read(path: str, directory: int | None = None) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return _value(fd)
    finally:
        os.close(fd)


def _value(fd: int) -> str:
    value = os.pread(fd, _USUAL, 0)
    if len(value) >= _USUAL - 1:  # the kernel gives one piece only: read it again from the start
        value = os.pread(fd, _LONGEST, 0)
    return value.decode(errors="surrogateescape").strip()


def _value_or_none(path: str) -> str | None:
    try:
        return _read(f"{DIRECTORY}/{path}")
    except OSError:
        return None  # write-only, such as net.ipv4.route.flush; or missing, as the write will say


def _refused(operation: str, path: str, error: OSError, hint: str = "") -> KernelError:
    number = error.errno or 0
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        number = errno.ENOENT
        hint = (
            "There is no such key in this namespace. Where a device name has a dot, "
            "write net/ipv4/conf/eth0.100/forwarding"
        )
    missing = None
    if number in (errno.EPERM, errno.EACCES) and path.startswith("net/"):
        missing = _missing_here()
    if missing:
        hint = ""  # the one that names the capability
    return kernel_error(operation, number, hint=hint or None, missing_capability=missing)


def _missing_here() -> str | None:
    fd = open_current()
    try:
        return missing_capability("CAP_NET_ADMIN", fd)
    finally:
        os.close(fd)
