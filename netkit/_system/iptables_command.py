"""Deleting rules of iptables-legacy with the command: for who has no time to load python-iptables."""

from __future__ import annotations

import os

from netkit.errors import BackendError

_WAIT = "60"  # seconds for the lock that all users of iptables-legacy share: what is given up is left behind
_PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}
_TRIES = 3
_PLACES = "/usr/sbin:/sbin:/usr/local/sbin"


def delete_rule(family: int, table: str, rule: str, before: int, dry_run: bool = False) -> bool:
    """Delete a rule in the calling thread's namespace if there are more equal ones than ``before``.

    ``rule`` is a line of ``iptables-legacy -S``. Whether there was one. Raises BackendError.
    """
    _, chain, *words = rule.split(" ")
    listed = _run(family, table, "-S", chain).splitlines()
    if listed.count(rule) <= before:
        return False
    if not dry_run:
        _run(family, table, "-D", chain, *words)
    return True


def delete_chains(family: int, table: str, suffix: str, dry_run: bool = False) -> bool:
    """Delete the chains ``NETKIT-...-SUFFIX`` in the calling thread's namespace, and what leads into them.

    All of it in one commit: no packet meets a half. Whether there was one. Raises BackendError.
    """
    for attempt in range(_TRIES):
        lines = [line.split(" ") for line in _run(family, table, "-S").splitlines()]
        chains = [words[1] for words in lines if words[0] == "-N" and _is_ours(words[1], suffix)]
        if not chains or dry_run:
            return bool(chains) or attempt > 0
        jumps = [words[1:] for words in lines if words[0] == "-A" and words[-1] in chains]
        changes = [f"-D {' '.join(words)}" for words in jumps if words[0] not in chains]
        changes += [f"{verb} {chain}" for verb in ("-F", "-X") for chain in chains]
        try:
            _restore(family, table, changes)
        except BackendError:  # others have changed one of them meanwhile
            if attempt == _TRIES - 1:
                raise
        else:
            return True
    raise AssertionError("the last attempt returns or raises")


def _is_ours(chain: str, suffix: str) -> bool:
    return chain.startswith("NETKIT-") and chain.endswith(f"-{suffix}")


def _run(family: int, table: str, *words: str) -> str:
    return _output(_PROGRAMS[family], ["-w", _WAIT, "-t", table, *words])


def _restore(family: int, table: str, changes: list[str]) -> None:
    """Change a table as a whole or not at all."""
    text = "\n".join([f"*{table}", *changes, "COMMIT", ""])
    _output(f"{_PROGRAMS[family]}-restore", ["-w", _WAIT, "--noflush"], text)


def _output(name: str, words: list[str], given: str = "") -> str:
    """What a command says; the guard has all signals blocked, and its children must not."""
    directories = f"{os.environ.get('PATH', os.defpath)}:{_PLACES}".split(":")
    program = next((path for each in directories if os.access(path := f"{each}/{name}", os.X_OK)), None)
    if program is None:
        raise BackendError(f"{name} is not installed: its rule stays")
    files = [os.memfd_create(f"iptables {what}", os.MFD_CLOEXEC) for what in ("input", "output")]
    into, output = files
    try:
        os.pwrite(into, given.encode(), 0)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((into, output, output))]
        pid = os.posix_spawn(program, [name, *words], os.environ, file_actions=actions, setsigmask=())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace")
    finally:
        for fd in files:
            os.close(fd)
    if status:
        raise BackendError(f"{' '.join([name, *words])} failed with status {status}: {said.strip()}")
    return said
