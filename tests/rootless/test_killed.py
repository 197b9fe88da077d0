"""SIGKILL at any moment: no process, mount or namespace is left."""

from __future__ import annotations

import pytest

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs

# What is killed: a program that starts a broker, uses it and ends it, over and over.
BUSY = """
print("ready", flush=True)
from netkit import *
while True:
    with Namespace("n") as a, Namespace() as b:
        with VethPair(a, b, name="e", peer_name="e", address="10.0.0.1/24", peer_address="10.0.0.2/24"):
            a.sysctl["net.ipv4.ip_forward"] = 1
            a.popen(["sleep", "1000"], start_new_session=True)
            a.call(len, "")
    shutdown()
    print("used", flush=True)
"""
# Every other one has been through all of it before, however slow the machine is.
KILLER = """
import random, select, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
def kill_at(moment, warm):
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", sys.argv[1]], stdout=-1) as process:
        assert process.stdout.readline() == b"ready\\n"
        if warm:
            assert process.stdout.readline() == b"used\\n"
        select.select([], [], [], moment)
        assert process.poll() is None
        process.kill()
moments = random.Random(int(sys.argv[3]))
with ThreadPoolExecutor(4) as pool:
    rounds = range(int(sys.argv[2]))
    list(pool.map(kill_at, [moments.uniform(0, 0.3) for _ in rounds], [number % 2 for number in rounds]))
"""


@pytest.mark.slow
@needs("setpriv", "unshare")
def test_killed_at_a_hundred_random_moments_nothing_is_left(nobody: Ordinary) -> None:
    done = nobody.run(nobody.counted([PYTHON, "-c", KILLER, BUSY, "100", "4"]), timeout=10 * LONG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
