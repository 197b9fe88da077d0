"""Where the peers are that `benchmarks/install-peers` installs; Unavailable says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .harness import Unavailable

HERE = Path(__file__).parent
GO_SOURCES = HERE / "contestants" / "go"
GO_LIBRARIES = Path("/usr/share/gocode")
BUILT = HERE / ".build"
PEERS_PYTHON = str(HERE.parent / ".venv-peers" / "bin" / "python")
DEBIAN_PYTHON = "/usr/bin/python3"
INSTALL = "see benchmarks/install-peers"


def go_program() -> Path:
    """The Go contestant, compiled against Debian's packages: nothing is fetched."""
    compiler = shutil.which("go")
    if compiler is None:
        raise Unavailable(f"no Go compiler (Debian: golang-go; {INSTALL})")
    for library in ("vishvananda/netlink", "google/nftables"):
        if not (GO_LIBRARIES / "src/github.com" / library).is_dir():
            package = f"golang-github-{library.replace('/', '-')}-dev"
            raise Unavailable(f"no Go library {library} (Debian: {package}; {INSTALL})")
    program = BUILT / "go-contestant"
    newest = max(path.stat().st_mtime for path in GO_SOURCES.glob("*.go"))
    if not program.exists() or program.stat().st_mtime < newest:
        _compile(compiler, program)
    return program


def _compile(compiler: str, program: Path) -> None:
    BUILT.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GO_LIBRARIES),
        "GOCACHE": str(BUILT / "go-cache"),
        "GOFLAGS": "",
    }
    command = [compiler, "build", "-o", str(program), "."]
    done = subprocess.run(command, cwd=GO_SOURCES, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"the Go contestant does not compile: {done.stderr.strip()}")


def need(path: str, package: str) -> str:
    """A program or plugin at this path, or on PATH; Unavailable names its Debian package."""
    found = path if os.path.exists(path) else shutil.which(path)
    if found is None:
        raise Unavailable(f"no {path} (Debian: {package}; {INSTALL})")
    return found
