"""What another process makes, owns and leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netkit import Namespace
from tests.harness import place
from tests.harness.oracle import nft_text, sorted_names
from tests.harness.patience import LONG

# One that does not end says where it is.
STUCK = "import faulthandler; faulthandler.dump_traceback_later(280, exit=True)\n"


def elsewhere(code: str, *namespaces: Namespace) -> str:
    """Run code in a process of its own, with `host` and `box` open; its output."""
    names = ("host", "box")[: len(namespaces)]
    opened = "".join(
        [f"{name} = Namespace.from_fd({ns.fileno()})\n" for name, ns in zip(names, namespaces, strict=True)]
    )
    done = subprocess.run(
        place.there(sys.executable, "-W", "error", "-c", f"{STUCK}from netkit import *\n{opened}{code}"),
        pass_fds=[ns.fileno() for ns in namespaces],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PAIR = "VethPair(host, box, name='v0', peer_name='eth0', address='10.0.0.1/24').create().detach()\n"


def state(host: Namespace) -> tuple[list[str], str]:
    """Links and NAT rules: what the objects here make."""
    return sorted_names(host), nft_text(host)


@contextmanager
def living(code: str, *namespaces: Namespace) -> Iterator[int]:
    """Another process that lives meanwhile, and owns what the code makes; its id where it is."""
    names = ("host", "box")[: len(namespaces)]
    opened = "".join(
        [f"{name} = Namespace.from_fd({ns.fileno()})\n" for name, ns in zip(names, namespaces, strict=True)]
    )
    ready = "print('ready', flush=True); input()"
    process = subprocess.Popen(
        place.there(
            sys.executable, "-c", f"from netkit import *\n{opened}with Scope() as lab:\n    {code}; {ready}"
        ),
        pass_fds=[ns.fileno() for ns in namespaces], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield place.number_there(place.main_of(process.pid)) if place.ROOTLESS else process.pid
    finally:
        process.communicate("end\n")
    assert process.returncode == 0
