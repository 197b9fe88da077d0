"""One `ip` command per operation."""

from __future__ import annotations

import subprocess


class Operator:
    """See contestants.Operator."""

    def open(self, name: str, index: int) -> None:
        self.command = ["ip", "-n", name]
        listed = subprocess.run([*self.command, "-o", "link"], capture_output=True, text=True, check=True)
        lines = [line.split(": ") for line in listed.stdout.splitlines()]
        self.device = next(line[1].partition("@")[0] for line in lines if line[0] == str(index))

    def _ip(self, *words: str) -> None:
        subprocess.run([*self.command, *words, "dev", self.device], check=True)

    def add_address(self, address: str) -> None:
        self._ip("address", "add", address)

    def remove_address(self, address: str) -> None:
        self._ip("address", "delete", address)

    def route(self, network: str) -> None:
        self._ip("route", "add", network)
        self._ip("route", "delete", network)
