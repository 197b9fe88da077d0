"""Tests that look with a command which this machine lacks are skipped, and say which package has it.

An ordinary user cannot install what is missing; netkit itself runs none of these commands.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec

import pytest

PACKAGES = {
    "bridge": "iproute2",
    "busybox": "busybox-static",
    "conntrack": "conntrack",
    "chromium": "chromium",
    "crun": "crun",
    "dot": "graphviz",
    "ip": "iproute2",
    "ip6tables-legacy": "iptables",
    "iptables-legacy": "iptables",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "pasta": "passt",
    "ping": "iputils-ping",
    "runc": "runc",
    "slirp4netns": "slirp4netns",
    "sysctl": "procps",
    "tshark": "tshark",
}
IPTABLES = shutil.which("iptables-legacy") is not None and find_spec("iptc") is not None
needs_iptables = pytest.mark.skipif(not IPTABLES, reason="needs iptables and python-iptables")
MISSING = sorted(tool for tool in PACKAGES if shutil.which(tool) is None)
_NOT_FOUND = re.compile(
    (
        r"\bstatus 127\b|there is no way outside|No such file or directory: '({0})'|\b({0}): not found|"
        r'\bexec of "({0})" failed'
    ).format("|".join(MISSING))
)


def skipped_for_a_missing_tool(problem: BaseException) -> BaseException:
    """What a test is to end with: a skip if it failed because a command or library is not installed."""
    if "libpcap is not installed" in str(problem):
        return pytest.skip.Exception("needs Debian's libpcap0.8")
    if "No module named 'iptc'" in str(problem):
        return pytest.skip.Exception("needs python-iptables")
    if not MISSING or not _NOT_FOUND.search(str(problem)):
        return problem
    packages = sorted({PACKAGES[tool] for tool in MISSING})
    return pytest.skip.Exception(f"needs Debian's {', '.join(packages)} ({', '.join(MISSING)} not found)")


def cannot_compare() -> str | None:
    """Why no kernel test can say anything: each looks with `ip`, many from programs of their own."""
    return f"needs Debian's {PACKAGES['ip']} (ip not found)" if "ip" in MISSING else None


def needs(*tools: str) -> pytest.MarkDecorator:
    """A mark for tests whose fixtures look with these commands: `pytestmark = needs("nft")`."""
    lacking = [tool for tool in tools if tool in MISSING]
    packages = ", ".join(sorted({PACKAGES[tool] for tool in lacking}))
    return pytest.mark.skipif(
        bool(lacking), reason=f"needs Debian's {packages} ({', '.join(lacking)} not found)"
    )
