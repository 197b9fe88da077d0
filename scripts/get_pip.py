"""Install pip from the package index where Python has no ensurepip, which Debian packages separately.

    .venv/bin/python scripts/get_pip.py

As for pip, the index is $PIP_INDEX_URL or PyPI, and certificate authorities are $PIP_CERT or the system's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

INDEX = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
PROJECT = INDEX.rstrip("/") + "/pip/"
JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
RELEASE = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl")
SECONDS = 60


def fetched(url: str) -> bytes:
    trusted = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urlopen(Request(url, headers={"Accept": JSON}), timeout=SECONDS, context=trusted) as answer:
        return bytes(answer.read())


def version_of(file: dict) -> tuple[int, ...]:
    """() for what is no release for this Python."""
    name = RELEASE.fullmatch(file["filename"])
    least = re.search(r">=\s*3\.(\d+)", file.get("requires-python") or "")
    if not name or file.get("yanked") or (least and sys.version_info < (3, int(least[1]))):
        return ()
    return tuple(map(int, name[1].split(".")))


def main() -> None:
    newest = max(json.loads(fetched(PROJECT))["files"], key=version_of)
    data = fetched(urljoin(PROJECT, newest["url"]))
    if hashlib.sha256(data).hexdigest() != newest["hashes"]["sha256"]:
        raise SystemExit(f"{newest['filename']} is not what {PROJECT} says it is")
    with tempfile.TemporaryDirectory() as directory:
        wheel = Path(directory) / newest["filename"]
        wheel.write_bytes(data)
        # A wheel is a zip file, and Python runs the package in it.
        command = [
            sys.executable,
            f"{wheel}/pip",
            "-q",
            "--disable-pip-version-check",
            "install",
            "--no-index",
        ]
        raise SystemExit(subprocess.run([*command, "--no-index", str(wheel)]).returncode)


try:
    main()
except (OSError, ValueError, KeyError) as problem:
    raise SystemExit(f"pip could not be had from {PROJECT}: {problem}") from None
