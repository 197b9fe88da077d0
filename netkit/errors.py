"""Every exception netkit raises, in one tree.

NetkitError
  SpecError (ValueError)             a bad value, seen before any system call
  StateError (RuntimeError)          used before create, after delete, after fork, while borrowed
  KernelError (OSError)              the kernel refused: .operation .errno .extack .attribute .netns
    ExistsError (FileExistsError)
    NotFoundError (KeyError)
    BusyError
    AccessError (PermissionError)
    UnsupportedError
  ProtocolError                      malformed, truncated or overrun netlink
  BackendError                       no usable NAT backend, no program that leads outside
  CommandError (CalledProcessError)  a command run with ``check=True`` failed, or a program that netkit needs
  WaitTimeout (TimeoutError)
  TeardownError (ExceptionGroup)     what could not be removed
"""

from __future__ import annotations

import errno as _errno
import os as _os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence as _Sequence
    from typing import Self

    from netkit._command_error import CommandError as CommandError

__all__ = [
    "AccessError",
    "BackendError",
    "BusyError",
    "CommandError",
    "ExistsError",
    "KernelError",
    "NetkitError",
    "NotFoundError",
    "ProtocolError",
    "SpecError",
    "StateError",
    "TeardownError",
    "UnsupportedError",
    "WaitTimeout",
]


class NetkitError(Exception):
    """The root: ``except NetkitError`` catches whatever netkit raises on purpose."""


class SpecError(NetkitError, ValueError):
    """A value breaks a rule. Raised before any system call; nothing has changed."""


class StateError(NetkitError, RuntimeError):
    """The object is not in a state that allows this.

    Used before ``create()``, after ``delete()``, in a child after ``fork()``,
    or an owner's verb on something that is only borrowed.
    """


class KernelError(NetkitError, OSError):
    """The kernel refused a request.

    Attributes:
        operation: what was asked, in words, such as ``create veth 'eth0'``.
        errno: the kernel's error number (positive), as in ``errno(3)``.
        extack: the kernel's own sentence (NETLINK_EXT_ACK), or None.
        attribute: the offending attribute, such as ``IFLA_MTU``, or None.
        netns: the namespace the request went to, as it is shown to people, or None.
        hint: what the user can do about it, or None.
    """

    def __init__(
        self,
        operation: str,
        errno: int,
        *,
        extack: str | None = None,
        attribute: str | None = None,
        netns: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.operation = operation
        self.extack = extack
        self.attribute = attribute
        self.netns = netns
        self.hint = hint
        super().__init__(errno, self._sentence(errno))

    def _sentence(self, errno: int) -> str:
        where = f" in {self.netns}" if self.netns else ""
        text = f"cannot {self.operation}{where}"
        if errno:  # 0: the kernel was not asked
            words = _WORDS_BY_ERRNO.get(errno) or _os.strerror(errno)
            text += f": {words} ({_errno.errorcode.get(errno, str(errno))})"
        if self.extack:
            text += f"; the kernel says: {self.extack}"
        if self.attribute:
            text += f" [{self.attribute}]"
        if self.hint:
            text += f". {self.hint}"
        return text

    def __str__(self) -> str:
        return self.strerror or ""

    def _hinted(self, hint: str) -> Self:
        """The same refusal with what the user can do about it."""
        return type(self)(
            self.operation,
            self.errno or 0,
            extack=self.extack,
            attribute=self.attribute,
            netns=self.netns,
            hint=hint,
        )

    def _in(self, netns: str) -> Self:
        """The same refusal with the namespace it was in, where that is not said yet."""
        if self.netns is not None:
            return self
        return type(self)(
            self.operation,
            self.errno or 0,
            extack=self.extack,
            attribute=self.attribute,
            netns=netns,
            hint=self.hint,
        )

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.operation, self.errno, self.extack, self.attribute, self.netns, self.hint)
        return _rebuild, (type(self), *fields)


def _rebuild(
    kind: type[KernelError],
    operation: str,
    errno: int,
    extack: str | None,
    attribute: str | None,
    netns: str | None,
    hint: str | None,
) -> KernelError:
    return kind(operation, errno, extack=extack, attribute=attribute, netns=netns, hint=hint)


class ExistsError(KernelError, FileExistsError):
    """EEXIST: the name, index, address or route is taken."""


class NotFoundError(KernelError, KeyError):
    """ENOENT, ENODEV, ESRCH (and EADDRNOTAVAIL on delete): there is no such object."""


class BusyError(KernelError):
    """EBUSY or EAGAIN: the object is in use, or somebody holds a lock."""


class AccessError(KernelError, PermissionError):
    """EPERM or EACCES because a capability is missing; the text names it and the way out."""


class UnsupportedError(KernelError):
    """EOPNOTSUPP or an unknown kind; the text names the kernel option or module."""


class ProtocolError(NetkitError):
    """A netlink reply was malformed, truncated, or lost to an overrun."""


class BackendError(NetkitError):
    """No NAT backend, or no program that leads outside, can be used here; the text says which and why."""


class WaitTimeout(NetkitError, TimeoutError):
    """What was waited for did not happen before the deadline."""


class TeardownError(NetkitError, ExceptionGroup[Exception]):
    """Some things could not be removed; each member has a note saying where it still is."""

    def derive(self, excs: _Sequence[Exception], /) -> TeardownError:  # type: ignore[override]
        """The same kind of group around some of its members, for split() and subgroup()."""
        return TeardownError(self.message, excs)


_CLASS_BY_ERRNO: dict[int, type[KernelError]] = {
    _errno.EEXIST: ExistsError,
    _errno.ENOENT: NotFoundError,
    _errno.ENODEV: NotFoundError,
    _errno.ESRCH: NotFoundError,
    _errno.EBUSY: BusyError,
    _errno.EAGAIN: BusyError,
    _errno.EOPNOTSUPP: UnsupportedError,
}

# The kernel says ESRCH of routes, rules and neighbours, where "No such process" misleads.
_WORDS_BY_ERRNO = {_errno.ESRCH: "there is none such"}

# Of descriptors: this process's, the machine's, and those on their way between a user's processes (unix(7)).
_LIMITS = {
    _errno.EMFILE: "The limit is RLIMIT_NOFILE of this process (`ulimit -n`)",
    _errno.ENFILE: "The limit is the sysctl fs.file-max",
    _errno.ETOOMANYREFS: "More descriptors are on their way between this user's processes than RLIMIT_NOFILE "
    "(`ulimit -n`) allows",
}
_HINT_BY_ERRNO = {
    **_LIMITS,
    _errno.ENOSPC: "The limit may be the sysctl user.max_net_namespaces",
}


def kernel_error(
    operation: str,
    errno: int,
    *,
    extack: str | None = None,
    attribute: str | None = None,
    netns: str | None = None,
    hint: str | None = None,
    deleting: bool = False,
    missing_capability: str | None = None,
    ipv6_is_disabled: bool = False,
) -> KernelError:
    """Build the exception whose class says what kind of refusal ``errno`` is.

    ``missing_capability`` is the name of the capability the caller lacks, such as
    ``CAP_NET_ADMIN``: EPERM is an AccessError only when there is one.
    ``ipv6_is_disabled`` tells so for a kernel that has no words for it.
    """
    if ipv6_is_disabled or (extack and "IPv6 is disabled" in extack):
        hint = hint or "IPv6 is disabled there: the sysctl net.ipv6.conf.DEVICE.disable_ipv6 (or `all`) is 1"
        missing_capability = None  # EACCES, which no capability would cure
    kind = _CLASS_BY_ERRNO.get(errno, KernelError)
    if deleting and errno == _errno.EADDRNOTAVAIL:
        kind = NotFoundError
    if errno in (_errno.EPERM, _errno.EACCES) and missing_capability:
        kind = AccessError
        hint = hint or (
            f"This needs {missing_capability}: run as root, or start the program in a user "
            "namespace of its own with `netkit unshare -- PROGRAM`"
        )
    if hint and errno in _LIMITS and "RLIMIT_NOFILE" not in hint:
        hint = f"{_LIMITS[errno]}. {hint}"
    return kind(
        operation,
        errno,
        extack=extack,
        attribute=attribute,
        netns=netns,
        hint=hint or _HINT_BY_ERRNO.get(errno),
    )


def limit_error(operation: str, problem: BaseException) -> KernelError | None:
    """If it is a limit of descriptors, a KernelError that names it.

    Whoever met it: Python's import of a module, too.
    """
    number = _limit_met(problem)
    if not number:
        return None
    named = kernel_error(operation, number)
    for note in getattr(problem, "__notes__", ()):
        named.add_note(note)
    return named


def raise_limit(operation: str, problem: BaseException) -> None:
    """Raise that error, if it is one."""
    named = limit_error(operation, problem)
    if named is not None:
        raise named from problem


def _limit_met(problem: BaseException) -> int:
    if isinstance(problem, NetkitError):
        return 0
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem.errno if problem.errno in _LIMITS else 0
    if isinstance(
        problem, (ImportError, OSError)
    ):  # dlopen(3) of a module in C, or a library, has words only
        return next((number for number in _LIMITS if _os.strerror(number) in str(problem)), 0)
    return 0


class naming_limits:  # noqa: N801
    """``with naming_limits("run a program"):`` as `raise_limit`.

    For verbs that load their module when they are called, which takes a descriptor: what is met there is an
    error of Python's import, and no place below a verb sees it. What opens sockets and files names the limit
    by itself, by `kernel_error`.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, traceback: object) -> None:
        if problem is not None:
            raise_limit(self._operation, problem)


def __getattr__(name: str) -> object:
    # CommandError derives from subprocess's class, and subprocess is slow to import.
    if name == "CommandError":
        from netkit._command_error import CommandError

        return CommandError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
