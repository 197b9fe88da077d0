"""Programs of an ordinary user, as the tests write them."""

from __future__ import annotations

from tests.harness.ordinary import Ordinary

START = "import os, socket, subprocess, sys\nfrom netkit import *\nimport netkit\n"


def program(nobody: Ordinary, text: str, **env: str) -> list[str]:
    """The lines it prints; it is to end well and to say nothing on stderr."""
    return nobody.python(START + text, env=env).splitlines()
