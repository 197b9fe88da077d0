"""`netkit demo` by an ordinary user: the same scenes, by the broker, and nothing left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs

BACKENDS = ["nftables", pytest.param("iptables", marks=needs("iptables-legacy"))]
DEMO = ["-m", "netkit", "demo", "--backend"]
# What differs between runs: times, MACs, the marks of our nft table and rules, and whose they are.
_CHANCE = re.compile(r"\d+\.\d+ ms|([0-9a-f]{2}:){5}[0-9a-f]{2}|netkit[-:]\w+|progname \S+| {2,}")


def scenes(output: str) -> str:
    """The output from the title on, without what is chance."""
    _, title, rest = output.partition("netkit demo: a container network in five scenes\n")
    return title + _CHANCE.sub(" ", rest)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_ordinary_user_sees_what_root_sees(nobody: Ordinary, backend: str) -> None:
    env = nobody.borrow("iptc") if backend == "iptables" else {}
    done = nobody.run([PYTHON, *DEMO, backend], env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith(
        "Without root (CAP_SYS_ADMIN and CAP_NET_ADMIN are missing):\n"
        "a helper process makes the namespaces.\n\nnetkit demo: "
    )
    assert done.stdout.endswith("Verdict: nothing is left.\n")
    by_root = subprocess.run(
        [sys.executable, *DEMO, backend], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert scenes(done.stdout) == scenes(by_root.stdout)


@pytest.mark.parametrize("backend", BACKENDS)
def test_root_can_play_it_without_root(backend: str) -> None:
    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, *DEMO, backend], capture_output=True, text=True, timeout=LONG,
        env={**os.environ, "NETKIT_ROOTLESS": "1", "PYTHONPATH": project},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("Without root (NETKIT_ROOTLESS=1):\n")
    assert done.stdout.endswith("Verdict: nothing is left.\n")


def test_what_a_scene_leaves_inside_is_told(nobody: Ordinary) -> None:
    """A name, a mount, a process of the broker's world; and the broker itself is none of them."""
    program = """
import os, sys
from netkit import Namespace
from netkit._demo import leftovers
os.environ[leftovers.MARK] = mark = os.urandom(8).hex()
box = Namespace("box").create()
before = leftovers.Machine(mark)
with Namespace("red") as red:
    sleeping = red.popen(["sleep", "100"])
    found = leftovers.Machine(mark).new_since(before)
    print({part: texts for part, texts in found.items() if texts and "descr" not in part})
    print(sleeping.pid)
print(leftovers.count(leftovers.Machine(mark).new_since(before)))
box.delete()
"""
    found, pid, left = nobody.python(program).splitlines()
    told = "'named namespaces': ['red'], 'namespace mounts': ['/run/netns/red'], 'processes'"
    assert found == f"{{{told}: ['{pid} sleep 100']}}"
    assert left == "0"
