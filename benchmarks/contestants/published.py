"""The mappings that everybody publishes, as in floor/ports.c: port 10000 + n leads into 172.18.0.0/16."""

from __future__ import annotations

import subprocess

FIRST_PORT, PER_SUBNET, TARGET_PORTS = 10000, 250, 1000


def mapping(number: int) -> tuple[int, str, int]:
    """The port, the target's address, its port."""
    address = f"172.18.{number // PER_SUBNET + 1}.{number % PER_SUBNET + 2}"
    return FIRST_PORT + number, address, number % TARGET_PORTS + 1


def inside(name: str, *argv: str, given: str | None = None) -> str:
    """What a command in the namespace says."""
    command = ["nsenter", f"--net=/run/netns/{name}", *argv]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()[:200]}")
    return done.stdout
