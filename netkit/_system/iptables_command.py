"""Deleting rules of iptables-legacy with the command: for who has no time to load python-iptables."""

from __future__ import annotations

import os

from netkit.errors import BackendError

_WAIT = "5"  # seconds for the lock that all users of iptables-legacy share
_PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}
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

    Whether there was one. Raises BackendError.
    """
    lines = [line.split(" ") for line in _run(family, table, "-S").splitlines()]
    chains = [words[1] for words in lines if words[0] == "-N" and _is_ours(words[1], suffix)]
    if chains and not dry_run:
        for words in lines:
            if words[0] == "-A" and words[1] not in chains and words[-1] in chains:
                _run(family, table, "-D", *words[1:])
        for verb in ("-F", "-X"):
            for chain in chains:
                _run(family, table, verb, chain)
    return bool(chains)


def _is_ours(chain: str, suffix: str) -> bool:
    return chain.startswith("NETKIT-") and chain.endswith(f"-{suffix}")


def _run(family: int, table: str, *words: str) -> str:
    """What the command says; the guard has all signals blocked, and its children must not."""
    name = _PROGRAMS[family]
    directories = f"{os.environ.get('PATH', os.defpath)}:{_PLACES}".split(":")
    program = next((path for each in directories if os.access(path := f"{each}/{name}", os.X_OK)), None)
    if program is None:
        raise BackendError(f"{name} is not installed: its rule stays")
    argv = [name, "-w", _WAIT, "-t", table, *words]
    output = os.memfd_create("iptables", os.MFD_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        pid = os.posix_spawn(program, argv, os.environ, file_actions=actions, setsigmask=())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace")
    finally:
        os.close(output)
    if status:
        raise BackendError(f"{' '.join(argv)} failed with status {status}: {said.strip()}")
    return said
