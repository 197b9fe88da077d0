"""`import netkit` is light: it loads the standard library's small modules only, and starts nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

import netkit

ROOT = Path(__file__).parents[2]
# Each costs milliseconds, or brings a library that only some users need: docs/design.md, "No heavy imports".
HEAVY = """
    IPython asyncio collections concurrent contextlib contextvars ctypes dataclasses enum functools heapq http
    hypothesis importlib.metadata inspect ipaddress iptc logging multiprocessing operator pathlib pyroute2
    pytest queue random re select selectors signal socket subprocess tempfile threading traceback typing
    typing_extensions urllib warnings
""".split()
# Parts of netkit that not every program needs.
LATER = """
    _command_error _diagnostics _fdb _nat.rule _neighbour _netlink.bridge_record _reading _route _rule
    _snapshot _sysctl _spec.addresses _spec.bridges _spec.routes _system.icmp _system.process _testing
""".split()


def _fresh(code: str, *flags: str) -> str:
    """Run code in a bare interpreter (-S: no site packages, whose .pth files import things themselves)."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-W", "error", *flags, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    load = "from netkit import Bridge, Link, Namespace, Scope, VethPair"
    code = f"before = set(sys.modules)\n{load}\nafter = set(sys.modules)\nimport json\n"
    return set(json.loads(_fresh(code + "print(json.dumps(sorted(after - before)))")))


@pytest.mark.parametrize("module", HEAVY)
def test_import_does_not_load(loaded: set[str], module: str) -> None:
    assert module not in loaded


@pytest.mark.parametrize("module", LATER)
def test_import_leaves_for_later(loaded: set[str], module: str) -> None:
    assert find_spec(f"netkit.{module}") is not None
    assert f"netkit.{module}" not in loaded


def test_import_alone_loads_the_names_only() -> None:
    code = "import netkit\nprint([name for name in sys.modules if name.startswith('netkit')])"
    assert _fresh(code) == "['netkit']\n"


def test_import_starts_nothing_and_opens_nothing() -> None:
    code = (
        "import os\n"
        "state = lambda: (os.listdir('/proc/self/fd'), os.listdir('/proc/self/task'))\n"
        "before = state()\nfrom netkit import Namespace\nprint(before == state())"
    )
    assert _fresh(code) == "True\n"


@pytest.mark.parametrize(
    "name", [name for name in getattr(netkit, "__all__", []) if not name.startswith("__")]
)
def test_each_name_can_be_the_first_one_used(name: str) -> None:
    """Lazy exports must not depend on another having been loaded before."""
    assert _fresh(f"from netkit import {name}; print({name}.__name__)") in (f"{name}\n", f"netkit.{name}\n")


def test_the_version_is_the_distribution_s() -> None:
    assert netkit.__version__ == metadata.version("netkit-linux")


def test_the_types_are_shipped() -> None:
    assert files("netkit").joinpath("py.typed").is_file()
