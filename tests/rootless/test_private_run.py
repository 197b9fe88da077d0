"""What an ordinary user's programs see of the machine's /run, and of what is mounted and unmounted there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.harness.ordinary import NOBODY, PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs

pytestmark = [
    needs("setpriv", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mount(2) over what an ordinary user sees takes root"),
]

PRIVATE = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
BECOME = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all"
A_RUN = f"""
mount -t tmpfs none /run
mkdir -p /run/user/{NOBODY} /run/crun /run/systemd/resolve /run/netns /run/netkit /run/etc
echo mine >/run/user/{NOBODY}/file; chown -R {NOBODY} /run/user/{NOBODY}
cp -a /etc/. /run/etc; mount --bind /run/etc /etc
echo 'nameserver 127.0.0.53' >/run/systemd/resolve/stub; ln -sf /run/systemd/resolve/stub /etc/resolv.conf
touch /run/xtables.lock /run/netns/of-the-machine; chmod 600 /run/xtables.lock
"""
SEEN = f"""
import json, os
from netkit import Namespace
ASK = '''
import json, os
os.mkdir("/run/crun")
open("/run/xtables.lock", "w").close()
with open("/run/user/{NOBODY}/made", "w") as file:
    file.write("inside")
print(json.dumps([sorted(os.listdir("/run")), os.listdir("/run/netns")]), flush=True)
os.execvp("cat", ["cat", "/run/user/{NOBODY}/file", "/etc/resolv.conf"])
'''
with Namespace("box") as box:
    box.run(["{PYTHON}", "-c", ASK], check=True)
with open("/run/user/{NOBODY}/made") as file:
    print(file.read(), os.listdir("/run/crun"))
"""


def environment(nobody: Ordinary) -> dict[str, str]:
    return {"HOME": str(nobody.home), "PYTHONPATH": str(nobody.home), "PATH": "/usr/bin:/usr/sbin:/bin"}


def output(nobody: Ordinary, script: str, *argv: str, **more: str) -> list[str]:
    done = subprocess.run(
        [*PRIVATE, script, "sh", *argv],
        env={**environment(nobody), **more}, capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_what_a_program_needs_of_run_is_there(nobody: Ordinary) -> None:
    """The user's own directory, where resolv.conf leads to; the rest can be made by who is root inside."""
    seen, *lines = output(nobody, f'{A_RUN}\nexec {BECOME} "$@"', PYTHON, "-W", "error", "-c", SEEN)
    assert json.loads(seen) == [["crun", "netns", "systemd", "user", "xtables.lock"], ["box"]]
    assert lines == ["mine", "nameserver 127.0.0.53", "inside []"]


def test_python_s_own_place_is_there_though_it_is_in_run(nobody: Ordinary) -> None:
    """The broker goes on importing, and so does what it starts."""
    copy = 'mkdir /run/own; cp -r "$PYTHONPATH/netkit" /run/own'
    script = f'{A_RUN}\n{copy}\nPYTHONPATH=/run/own exec {BECOME} "$@"'
    program = "from netkit import *\nwith Namespace() as ns:\n    "
    program += "print(ns.call(len, 'four'), ns.sysctl['net.ipv4.ip_forward'])"
    assert output(nobody, script, PYTHON, "-W", "error", "-c", program) == ["4 0"]


UNMOUNTING = """
import subprocess, sys
with subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
    print(program.stdout.readline(), end="")
    subprocess.run(["umount", "/mnt"], check=True)
    print(program.communicate("go on\\n")[0], end="")
"""
HOLDING = """
from netkit import Namespace
with Namespace() as box:
    for last in (False, True):
        mounts = box.run(["cat", "/proc/self/mountinfo"], capture_output=True, text=True).stdout
        print(" /mnt " in mounts, flush=True)
        last or input()
"""


def test_what_is_unmounted_outside_is_not_held(nobody: Ordinary) -> None:
    script = 'mount --make-rshared /; mount -t tmpfs none /mnt; exec "$@"'
    become = [*BECOME.split(), PYTHON, "-c", HOLDING]
    assert output(nobody, script, sys.executable, "-c", UNMOUNTING, *become) == ["True", "False"]
