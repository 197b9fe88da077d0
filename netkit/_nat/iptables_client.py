"""The caller's side of the iptables worker: one process per network namespace, started on first use."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import threading
import time
import weakref

from netkit._nat.iptables_rules import rule_text
from netkit.errors import BackendError, BusyError, StateError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol, TypeAlias

    from netkit._nat.iptables_rules import Chains, Rule

    class Pipe(Protocol):
        def fileno(self) -> int: ...
        def close(self) -> None: ...

    class Process(Protocol):
        """What ``subprocess.Popen(argv, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE)`` returns.

        ``wait()`` is None where only another process is told the status.
        """

        returncode: Any

        @property
        def stdin(self) -> Pipe | None: ...
        @property
        def stdout(self) -> Pipe | None: ...
        @property
        def stderr(self) -> Pipe | None: ...
        @property
        def pid(self) -> int: ...
        def kill(self) -> None: ...
        def wait(self) -> int | None: ...

    Spawn: TypeAlias = Callable[[list[str], dict[str, str]], Process]
    Texts: TypeAlias = list[str]

# No such table, or (ipv6.disable=1 on the kernel's command line) no such family.
NO_TABLE = (errno.ENOENT, errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
# The answer may take as much longer than the deadline for the lock: import, module loading.
_GRACE = 30.0
_CLOSE_SECONDS = 2.0
# What is inheritable in the program, for children of its own, is not the worker's to hold open.
_START = """
import os, sys
os.closerange(3, 1 << 20)
sys.path.extend(sys.argv[1:])
from netkit._nat.iptables_worker import main
main()
"""


class IptablesWorker:
    """Changes iptables-legacy rules in one network namespace, through python-iptables.

    ``spawn(argv, env)`` starts the program inside the namespace, its three standard streams as
    pipes without buffering done by the caller, if possible in a session of its own
    (``start_new_session=True``); the worker makes itself one otherwise. The worker keeps the
    namespace alive until ``close()``, and ends by itself when this process does.
    Any thread may call; calls are done one after the other.
    """

    def __init__(self, spawn: Spawn, *, netns: str | None = None) -> None:
        self._spawn = spawn
        self._netns = netns
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._pid = os.getpid()
        self._requests = 0
        self._unread = b""
        self._stderr = b""
        _workers.add(self)

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process else "not running"
        return f"<IptablesWorker {state}{f' in {self._netns}' if self._netns else ''}>"

    def transaction(
        self,
        add: Iterable[Rule] = (),
        remove: Iterable[Rule] = (),
        deadline: float = 5.0,
        *,
        ensure: Iterable[Chains] = (),
        drop: Iterable[Chains] = (),
        tidy: Iterable[Chains] = (),
        take: Iterable[Rule] = (),
        free: Iterable[Sequence[Rule]] = (),
    ) -> list[Rule]:
        """Remove and add rules: all or none. Returns those of ``remove`` that were not there.

        Per table one commit, under the xtables lock, read back afterwards. Of equal rules the last
        is removed (the first if ``position`` is ``insert``). ``deadline`` is in seconds, for the lock.
        Chains of ``ensure`` are made before where they are not there, those of ``drop`` removed
        afterwards with all that is in them, those of ``tidy`` if the first of them is empty. Rules of
        ``take`` are removed as well, but if one is not there it is NotFoundError and nothing is done. Rules
        of ``free``, those of one chain each, are ExistsError if that has one for the same ports before.

        Raises: BusyError (the lock, with who holds it), KernelError, BackendError. After a
        BackendError, and after an interrupt, it is not known whether the rules are there.
        """
        request: dict[str, Any] = {"add": [*add], "remove": [*remove]}
        request |= {"ensure": [*ensure], "drop": [*drop], "tidy": [*tidy], "take": [*take]}
        request["free"] = [[*rules] for rules in free]
        words = [f"add '{rule_text(rule)}'" for rule in request["add"][:2]]
        words += [f"remove '{rule_text(rule)}'" for rule in [*request["take"], *request["remove"]][:2]]
        words += [
            f"{verb} chain {each['names'][0]}"
            for verb in ("ensure", "drop", "tidy")
            for each in request[verb]
        ]
        if not words:
            return []
        count = sum(len(request[verb]) for verb in request if verb != "free")
        more = f" and {count - 1} more" if count > 1 else ""
        request |= {"operation": "transaction", "deadline": deadline}
        gone = self._ask(f"{words[0]}{more} with iptables", request, deadline)
        return [request["remove"][number] for number in gone]

    def list(self, family: int = 4, table: str = "nat") -> Texts:
        """The rules of a table as ``iptables-legacy -t TABLE -S`` prints its ``-A`` lines."""
        request = {"operation": "list", "family": family, "table": table}
        texts: Texts = self._ask(f"list iptables' table {table} (IPv{family})", request)
        return texts

    def rules(self, family: int, table: str, chain: str) -> Sequence[Rule]:
        """The rules of a chain that netkit could have made; none where there is no such chain."""
        request = {"operation": "rules", "family": family, "table": table, "chain": chain}
        found: Sequence[Rule] = self._ask(f"read chain {chain} of iptables (IPv{family})", request)
        return found

    def policy(self, family: int, table: str, chain: str) -> str:
        """``ACCEPT`` or ``DROP``: the policy of a built-in chain."""
        request = {"operation": "policy", "family": family, "table": table, "chain": chain}
        found: str = self._ask(f"read the policy of iptables' chain {chain} (IPv{family})", request)
        return found

    def counters(self, rule: Rule) -> tuple[int, int]:
        """Packets and bytes that met the rule. NotFoundError if it is gone."""
        return self.counters_of([rule])[0]

    def counters_of(self, rules: Sequence[Rule]) -> Sequence[tuple[int, int]]:
        """The same of each, by one look at each table. NotFoundError if one is gone."""
        if not rules:
            return []
        operation = f"read the counters of '{rule_text(rules[0])}' of iptables"
        found = self._counters(operation, rules)
        for rule, each in zip(rules, found, strict=True):
            if each is None:
                operation = f"read the counters of '{rule_text(rule)}' of iptables"
                raise kernel_error(operation, errno.ENOENT, netns=self._netns)
        return [(packets, size) for packets, size in found]

    def exists(self, rule: Rule) -> bool:
        """Whether the rule is there now."""
        return self.all_exist([rule])

    def all_exist(self, rules: Sequence[Rule]) -> bool:
        """Whether they are all there now."""
        if not rules:  # of a port that is published at ::1 alone
            return True
        return None not in self._counters(f"look for '{rule_text(rules[0])}' in iptables", rules)

    def missing(self, rules: Sequence[Rule]) -> Sequence[Rule]:
        """Those of the rules that are not there now."""
        found = self._counters(f"look for '{rule_text(rules[0])}' in iptables", rules)
        return [rule for rule, each in zip(rules, found, strict=True) if each is None]

    def _counters(self, operation: str, rules: Sequence[Rule]) -> Any:
        return self._ask(operation, {"operation": "counters", "rules": rules})

    def probe(self, families: Iterable[int] = (4,)) -> str | None:
        """Why iptables cannot be used here, in words; None if it can.

        Opens the nat tables to find out, which registers them in the namespace.
        """
        try:
            self._ask("open iptables' table nat", {"operation": "probe", "families": [*families]})
        except (BackendError, OSError) as error:
            return str(error)
        return None

    def close(self) -> None:
        """End the worker. The rules stay. The next call starts another."""
        if os.getpid() != self._pid:
            return  # after a fork it is the parent's
        with self._lock:
            self._end()

    def _ask(self, operation: str, request: Mapping[str, object], deadline: float = 0.0) -> Any:
        if os.getpid() != self._pid:
            raise StateError(f"cannot {operation}: this iptables worker belongs to the process before fork()")
        with self._lock:
            answer = self._exchange(operation, request, time.monotonic() + deadline + _GRACE)
        if "result" in answer:
            return answer["result"]
        raise self._failure(operation, answer)

    def _exchange(self, operation: str, request: Mapping[str, object], until: float) -> dict[str, Any]:
        self._requests += 1
        line = json.dumps({**request, "id": self._requests}).encode() + b"\n"
        process = self._process or self._start(operation)
        try:
            self._send(process, line, until)
            while True:
                answer: dict[str, Any] = json.loads(self._line(process, until))
                if answer["id"] == self._requests:  # else of a call that an interrupt ended
                    return answer
        except (EOFError, OSError, ValueError) as error:
            self._drain_stderr(process)
            status = self._end(kill=True)
            said = self._stderr.decode(errors="replace").strip()
            told = "ended" if status is None else f"ended (status {status})"
            if isinstance(error, TimeoutError):
                told = "gave no answer in time, and was ended"
            ended = f"the worker process {told}{': ' + said if said else ''}"
            raise BackendError(f"cannot {operation}{self._where()}: {ended}") from error

    def _start(self, operation: str) -> Process:
        if not sys.executable:
            raise BackendError(f"cannot {operation}: sys.executable is empty, no worker can be started")
        # -I: neither the current directory nor PYTHON* variables decide what is imported.
        argv = [sys.executable, "-I", "-c", _START, *_import_directories()]
        env = {**os.environ, "SETUPTOOLS_USE_DISTUTILS": "stdlib"}  # else setuptools is imported: 0.15 s
        try:
            process = self._spawn(argv, env)
        except OSError as error:
            raise BackendError(f"cannot {operation}{self._where()}: no worker process: {error}") from error
        self._unread = self._stderr = b""
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process = process
        return process

    def _send(self, process: Process, line: bytes, until: float) -> None:
        try:
            while line:
                self._wait(process, process.stdin, select.POLLOUT, until)
                line = line[os.write(_fileno(process.stdin), line) :]
        except KeyboardInterrupt:
            self._end(kill=True)  # half a request is on its way: nothing can follow it
            raise

    def _line(self, process: Process, until: float) -> bytes:
        while b"\n" not in self._unread:
            self._wait(process, process.stdout, select.POLLIN, until)
            data = os.read(_fileno(process.stdout), 1 << 20)
            if not data:
                raise EOFError("end of the worker's output")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _wait(self, process: Process, pipe: Pipe | None, event: int, until: float) -> None:
        """Wait until the pipe is ready; keep the end of what the worker says meanwhile."""
        poll = select.poll()
        poll.register(_fileno(pipe), event)
        if process.stderr is not None:
            poll.register(process.stderr.fileno(), select.POLLIN)
        while True:
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if _fileno(pipe) in ready:
                return
            if not ready:
                raise OSError(errno.ETIMEDOUT, "no answer from the worker in time")
            if not self._drain_stderr(process):
                poll.unregister(_fileno(process.stderr))

    def _drain_stderr(self, process: Process) -> bool:
        """Read what is there; False at its end."""
        if process.stderr is None:
            return False
        try:
            while data := os.read(process.stderr.fileno(), 65536):
                self._stderr = (self._stderr + data)[-2000:]
        except BlockingIOError:
            return True
        return False

    def _end(self, *, kill: bool = False) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        if kill or not _reaches_end(process.stdout, _CLOSE_SECONDS):
            process.kill()
        status = process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status

    def _where(self) -> str:
        return f" in {self._netns}" if self._netns else ""

    def _failure(self, operation: str, answer: dict[str, Any]) -> Exception:
        kind, text, number = answer["error"], answer["text"], answer["errno"]
        if kind == "lock":
            return BusyError(operation, number, netns=self._netns, hint=_sentence(text))
        if kind in ("library", "internal"):
            return BackendError(f"cannot {operation}{self._where()}: {text}")
        missing = answer.get("missing") if number in (errno.EPERM, errno.EACCES) else None
        hint = None if missing else _sentence(_explained(kind, text, number))
        return kernel_error(operation, number, netns=self._netns, hint=hint, missing_capability=missing)

    def forget_after_fork(self) -> None:
        """In a forked child: close the pipes, so that the worker sees its parent's end."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout, process.stderr) if process else ():
            if pipe is not None:
                pipe.close()
        if process is not None:
            process.returncode = 0  # its parent waits for it


def _explained(kind: str, text: str, number: int) -> str:
    if kind == "file":
        return f"{text}. XTABLES_LOCKFILE can name another file"
    if text.startswith("can't initialize") and number in NO_TABLE:
        return (
            f"libiptc says: {text}. The kernel needs legacy iptables: CONFIG_IP_NF_NAT and "
            "CONFIG_IP6_NF_NAT (modules iptable_nat, ip6table_nat); the nftables backend does not"
        )
    if number == errno.EINVAL and kind == "kernel":
        return f"libiptc says: {text}. The kernel log (`dmesg`) may say why"
    return text if kind == "rule" else f"libiptc says: {text}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:2].islower() and not text.startswith("libiptc") else text


def _fileno(pipe: Pipe | None) -> int:
    if pipe is None:
        raise OSError(errno.EBADF, "the worker was started without a pipe")
    return pipe.fileno()


def _reaches_end(pipe: Pipe | None, seconds: float) -> bool:
    """Whether the worker closes its output, as it does when it ends, in time."""
    until = time.monotonic() + seconds
    poll = select.poll()
    poll.register(_fileno(pipe), select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        if not os.read(_fileno(pipe), 1 << 20):
            return True
    return False


def _import_directories() -> Texts:
    """Where this process finds netkit and iptc: the worker is to import the same ones."""
    from importlib.util import find_spec

    found = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
    spec = find_spec("iptc")
    if spec is not None and spec.origin:
        found.append(os.path.dirname(os.path.dirname(spec.origin)))
    return found


_workers: weakref.WeakSet[IptablesWorker] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for worker in list(_workers):
        worker.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
