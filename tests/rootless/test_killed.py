"""SIGKILL at any moment: no process, mount or namespace is left, as the kernel itself counts them."""

from __future__ import annotations

import pytest

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.tools import needs

# What is killed: a program that starts a broker and uses it, over and over.
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
"""
# One namespace of each kind and two networks are allowed: nothing may be left for this to work.
AFTERWARDS = """
from netkit import *
with Namespace() as first:
    assert first.ping("127.0.0.1").loss == 0
    try:
        Namespace().create()
    except KernelError as problem:
        print(problem)
"""
# It runs in a user namespace of its own, whose limits and counts are those of what it starts. Orphans
# become its children (PR_SET_CHILD_SUBREAPER), so that waiting for all children is waiting for all.
DRIVER = """
import ctypes, os, random, select, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
busy, afterwards, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
ordinary = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all", sys.executable, "-W", "ignore", "-c"]
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
def mounts():
    with open("/proc/self/mountinfo") as file:
        return file.read()
def kill_at(moment):
    with subprocess.Popen([*ordinary, busy], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\\n"
        select.select([], [], [], moment)
        assert process.poll() is None
        process.kill()
def too_long(number, frame):
    subprocess.run(["ps", "-eo", "pid,ppid,etime,wchan:20,args"])
    raise SystemExit("still there after a minute")
before = mounts()
moments = random.Random(int(sys.argv[4]))
with ThreadPoolExecutor(4) as pool:
    list(pool.map(kill_at, [moments.uniform(0, 0.6) for _ in range(rounds)]))
signal.signal(signal.SIGALRM, too_long)
signal.alarm(60)
orphans = 0
try:
    while True:
        os.waitpid(-1, 0)
        orphans += 1
except ChildProcessError:
    signal.alarm(0)
for kind, limit in (("user", 1), ("mnt", 1), ("pid", 1), ("net", 2)):
    with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
        file.write(str(limit))
deadline = time.monotonic() + 60  # the kernel frees namespaces in the background
while (done := subprocess.run([*ordinary, afterwards], capture_output=True, text=True)).returncode:
    if time.monotonic() > deadline:
        raise SystemExit(done.stderr)
print(orphans, mounts() == before, done.stdout, end="")
"""


@pytest.mark.slow
@needs("setpriv", "unshare")
def test_killed_at_a_hundred_random_moments_nothing_is_left(nobody: Ordinary) -> None:
    inside = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"]
    done = nobody.run([*inside, PYTHON, "-c", DRIVER, BUSY, AFTERWARDS, "100", "4"], timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    orphans, same_mounts, refusal = done.stdout.split(" ", 2)
    assert int(orphans) > 0  # brokers had to be waited for
    assert same_mounts == "True"
    assert "user.max_net_namespaces" in refusal  # so the limits do count what was made
