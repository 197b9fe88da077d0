"""The program that lives in one network namespace and changes its iptables rules.

It is a process of its own because python-iptables is not safe in a thread, and keeps sockets and
state of the namespace in which it was first used. One JSON request per line on standard input, one
answer per line on standard output; it ends when its standard input does.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import select
import signal
import time

from netkit._nat.iptables_decode import decode
from netkit._nat.iptables_edits import ChainsEdit, FreeEdit, RuleEdit, TableError
from netkit._nat.iptables_entry import canonical, counters, encode
from netkit._nat.iptables_libraries import LibraryMissing
from netkit._nat.iptables_listing import list_rules
from netkit._nat.iptables_rules import rule_text
from netkit._nat.iptables_tables import apply, entries, open_table
from netkit._nat.xtables_lock import LockHeld, lock_path, xtables_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal, TypeAlias

    from netkit._nat.iptables_edits import Edit
    from netkit._nat.iptables_rules import Chains, Rule
    from netkit._nat.iptables_tables import Key

    Request: TypeAlias = dict[str, Any]

_CAPABILITIES = {12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW"}  # linux/capability.h


class _Refused(Exception):
    def __init__(self, kind: str, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.kind = kind
        self.errno = number


def transaction(request: Request) -> Any:
    """Remove and add under the lock; answers the indexes of the removals that were gone already.

    ``ensure`` are chains to be made first where they are not, ``drop`` and ``tidy`` to be removed last; what
    is in ``take`` has to be there, and the chains of ``free`` must have nothing for the same ports.
    """
    deadline: float = request["deadline"]
    groups: dict[Key, list[Edit]] = {}
    for each in request.get("ensure", ()):
        _edit_chains("ensure", each, groups)
    for rules in request.get("free", ()):
        groups.setdefault((rules[0]["family"], rules[0]["table"]), []).append(
            FreeEdit(rules[0]["chain"], rules)
        )
    for rule in request.get("take", ()):
        _edit("remove", rule, groups).required = True
    removals = [_edit("remove", rule, groups) for rule in request["remove"]]
    for rule in request["add"]:
        _edit("add", rule, groups)
    for each in request.get("drop", ()):
        _edit_chains("drop", each, groups)
    for each in request.get("tidy", ()):
        _edit_chains("tidy", each, groups)
    until = time.monotonic() + deadline
    try:
        with xtables_lock(deadline):
            # Who cleans up behind a dead owner takes the lock, too: nothing may be added after that.
            if _owner_is_gone():
                raise _Refused("gone", "nobody waits for it")
            apply(groups, until)
    except OSError as error:
        raise _Refused("file", f"cannot open {lock_path()}: {error.strerror}", error.errno or 0) from error
    return [number for number, edit in enumerate(removals) if edit.found is None]


def _edit(verb: Literal["add", "remove"], rule: Rule, groups: dict[Key, list[Edit]]) -> RuleEdit:
    edit = RuleEdit(verb, rule["chain"], _encoded(rule), _index(rule))
    groups.setdefault((rule["family"], rule["table"]), []).append(edit)
    return edit


def _edit_chains(
    verb: Literal["ensure", "drop", "tidy"], chains: Chains, groups: dict[Key, list[Edit]]
) -> None:
    rules = [(rule["chain"], _encoded(rule), _index(rule)) for rule in chains["rules"]]
    edit = ChainsEdit(verb, chains["names"], rules)
    groups.setdefault((chains["family"], chains["table"]), []).append(edit)


def _index(rule: Rule) -> int:
    return 0 if rule["position"] == "insert" else -1


def _encoded(rule: Rule) -> bytes:
    try:
        return encode(rule)
    except (ValueError, OverflowError, OSError) as error:
        raise _Refused("rule", f"{rule_text(rule)}: {error}", errno.EINVAL) from error


def listing(request: Request) -> Any:
    return list_rules((request["family"], request["table"]))


def chain_listing(request: Request) -> Any:
    """The rules of one chain that netkit could have made; none where there is no such chain."""
    family, table_name, chain = request["family"], request["table"], request["chain"]
    with open_table((family, table_name)) as table:
        found = entries(table, chain) if table.is_chain(chain) else ()
        return [rule for raw, _ in found if (rule := decode(raw, family, table_name, chain)) is not None]


def policy(request: Request) -> Any:
    """ACCEPT or DROP: what becomes of a packet that meets no rule of a chain."""
    with open_table((request["family"], request["table"])) as table:
        return table.get_policy(request["chain"])[0].name


def rule_counters(request: Request) -> Any:
    """Packets and bytes of each rule, of the last one if there are several; None where there is none."""
    places: dict[tuple[Key, str], dict[bytes, list[int]]] = {}
    for number, rule in enumerate(request["rules"]):
        place = (rule["family"], rule["table"]), rule["chain"]
        places.setdefault(place, {}).setdefault(encode(rule), []).append(number)
    answers: list[tuple[int, int] | None] = [None] * len(request["rules"])
    for (key, chain), wanted in places.items():
        for raw, numbers in _counted(key, chain, wanted):
            for number in numbers:
                if answers[number] is None or request["rules"][number]["position"] != "insert":
                    answers[number] = counters(raw, key[0])
    return answers


def _counted(key: Key, chain: str, wanted: dict[bytes, list[int]]) -> Iterator[tuple[bytes, list[int]]]:
    with open_table(key) as table:
        for raw, _ in entries(table, chain) if table.is_chain(chain) else ():
            numbers = wanted.get(canonical(raw, key[0]))
            if numbers:
                yield raw, numbers


def probe(request: Request) -> Any:
    """Opens the tables; that makes the kernel register them in this namespace."""
    for family in request["families"]:
        with open_table((family, "nat")):
            pass
    return None


_OPERATIONS: dict[str, Callable[[Request], Any]] = {
    "transaction": transaction,
    "list": listing,
    "policy": policy,
    "rules": chain_listing,
    "counters": rule_counters,
    "probe": probe,
}


def answer(request: Request) -> dict[str, Any]:
    """The answer to one request; whatever goes wrong is in it."""
    try:
        return {"result": _OPERATIONS[request["operation"]](request)}
    except TableError as error:
        notes = getattr(error, "__notes__", [])
        text = "; ".join([str(error), *notes])
        return _failure("kernel", text, error.errno) | {"missing": _missing_capability()}
    except _Refused as error:
        return _failure(error.kind, str(error), error.errno) | {"missing": _missing_capability()}
    except LockHeld as error:
        return _failure("lock", str(error), errno.EAGAIN)
    except LibraryMissing as error:
        return _failure("library", str(error), 0)
    except Exception as error:  # a fault of ours: the caller gets it whole, the worker lives on
        return _failure("internal", f"{type(error).__name__}: {error}", 0)


def _failure(kind: str, text: str, number: int) -> dict[str, Any]:
    return {"error": kind, "text": text, "errno": number}


def _missing_capability() -> str | None:
    with open("/proc/self/status") as status:
        held = next((int(line[7:], 16) for line in status if line.startswith("CapEff:")), -1)
    return next((name for bit, name in _CAPABILITIES.items() if not held >> bit & 1), None)


def _own_session() -> None:
    # A Ctrl-C in the terminal is for the program; what it undoes then needs this worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getpgid(0) != os.getpid():
        os.setsid()


def _owner_is_gone() -> bool:
    """Whether the other end of standard input is closed."""
    if _requests < 0:
        return False
    poll = select.poll()
    poll.register(_requests, 0)
    return bool(poll.poll(0))


_requests = -1


def _private_streams() -> tuple[Any, int]:
    """Requests and answers on descriptors that no library prints to and no child inherits."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    os.set_blocking(2, False)  # a full pipe of messages must not stop the work
    return open(requests, "rb"), answers


def main() -> None:
    """Serve until standard input ends."""
    _own_session()
    faulthandler.enable()
    global _requests
    requests, answers = _private_streams()
    _requests = requests.fileno()
    for line in requests:
        request = json.loads(line)
        reply = answer(request) | {"id": request["id"]}
        try:
            _write(answers, json.dumps(reply).encode() + b"\n")
        except BrokenPipeError:
            break  # nobody is there to read it
    os._exit(0)  # all tables are closed; taking Python and iptc apart takes 15 ms


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
