"""How it is chosen that there is no root, and what says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.rootless.programs import START, program


def test_it_can_be_switched_off(nobody: Ordinary) -> None:
    text = """
try:
    Namespace().create()
except AccessError as problem:
    print(problem)
"""
    (line,) = program(nobody, text, NETKIT_ROOTLESS="0")
    assert "CAP_SYS_ADMIN" in line


def test_a_wrong_value_of_the_variable(nobody: Ordinary) -> None:
    text = """
try:
    Namespace().create()
except SpecError as problem:
    print(problem)
"""
    assert program(nobody, text, NETKIT_ROOTLESS="yes") == [
        "NETKIT_ROOTLESS='yes': give 1 (without root) or 0 (with root)"
    ]


def test_root_can_have_it_too() -> None:
    inside = "a.run(['readlink', '/proc/self/ns/user'], capture_output=True, text=True).stdout"
    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [PYTHON, "-c", START + f"with Namespace() as a:\n    print({inside})"],
        capture_output=True, text=True, timeout=LONG, cwd=project,
        env={**os.environ, "NETKIT_ROOTLESS": "1", "PYTHONPATH": project},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().startswith("user:")
    assert done.stdout.strip() != os.readlink("/proc/self/ns/user")


def test_doctor_says_which_and_why(nobody: Ordinary) -> None:
    done = nobody.run([PYTHON, "-m", "netkit", "doctor", "--json"])
    found = {each["name"]: each for each in json.loads(done.stdout)["privileges"]}
    detail = found["how namespaces are made"]["detail"]
    assert detail.startswith("without root, by a helper process in a user namespace")
    assert "CAP_SYS_ADMIN and CAP_NET_ADMIN are missing" in detail
