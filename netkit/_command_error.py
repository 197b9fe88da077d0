"""CommandError, apart from errors.py because subprocess is slow to import."""

from __future__ import annotations

import subprocess

from netkit.errors import NetkitError

LAST_OUTPUT = 500


class CommandError(NetkitError, subprocess.CalledProcessError):
    """A command run inside a namespace with ``check=True`` did not exit with 0.

    Attributes: ``cmd``, ``returncode``, ``stdout`` (alias ``output``), ``stderr``.
    The text has the command, its status and the end of its error output.
    """

    def __str__(self) -> str:
        text = super().__str__()
        errors = self.stderr
        if isinstance(errors, bytes):
            errors = errors.decode(errors="replace")
        if errors:
            text += f" Its last error output: {errors.strip()[-LAST_OUTPUT:]}"
        return text
