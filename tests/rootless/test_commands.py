"""`netkit show` and `up` of an ordinary user: what he may see, and where his own network stays."""

from __future__ import annotations

import json
import shlex

from tests.harness.ordinary import PYTHON, Ordinary

NETKIT = [PYTHON, "-m", "netkit"]
PLAN = {"namespaces": {"client": {}, "server": {}}, "links": [{"ends": ["client", "server"]}]}


def test_he_sees_his_own_namespace(nobody: Ordinary) -> None:
    shown = nobody.run([*NETKIT, "show"])
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(("here\n", "here (router)\n"))


def test_up_says_where_it_would_stay(nobody: Ordinary) -> None:
    refused = nobody.run([*NETKIT, "up", _plan(nobody)])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "netkit unshare" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_in_unshare_it_is_as_with_root(nobody: Ordinary) -> None:
    netkit = shlex.join(NETKIT)
    script = f"""
        {netkit} up {_plan(nobody)}
        {netkit} show client server
        {netkit} exec client -- echo in the client
        {netkit} down
        ls /run/netns
    """
    done = nobody.run([*NETKIT, "unshare", "--", "sh", "-ec", script])
    assert (done.returncode, done.stderr) == (0, "")
    first, *drawn, spoken, last = done.stdout.splitlines()
    assert first == "lab is up: namespaces client, server"
    assert [line for line in drawn if "──" in line and "up" in line] != []
    assert (spoken, last) == ("in the client", "lab is down")


def _plan(nobody: Ordinary) -> str:
    file = nobody.home / "lab.json"
    file.write_text(json.dumps(PLAN))
    return str(file)
