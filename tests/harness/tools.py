"""Tests that look with a command which this machine lacks are skipped, and say which package has it.

scripts/packages installs them as root; an ordinary user cannot. netkit itself runs none of these commands
but a program for a way outside. A test that fails for another reason fails, whatever is missing.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from importlib.util import find_spec

import pytest

PACKAGES = {
    "bridge": "iproute2",
    "busybox": "busybox-static",
    "capsh": "libcap2-bin",
    "chromium": "chromium",
    "conntrack": "conntrack",
    "crun": "crun",
    "dot": "graphviz",
    "ip": "iproute2",
    "ip6tables-legacy": "iptables",
    "iptables-legacy": "iptables",
    "iptables-nft": "iptables",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "pasta": "passt",
    "ping": "iputils-ping",
    "runc": "runc",
    "setpriv": "util-linux",
    "slirp4netns": "slirp4netns",
    "sysctl": "procps",
    "tc": "iproute2",
    "tshark": "tshark",
    "unshare": "util-linux",
}
MISSING = sorted(tool for tool in PACKAGES if shutil.which(tool) is None)
HAS_IPTC = find_spec("iptc") is not None  # python-iptables, which takes a compiler
IPTABLES = "iptables-legacy" not in MISSING and HAS_IPTC
needs_iptables = pytest.mark.skipif(not IPTABLES, reason="needs iptables and python-iptables")
BACKENDS = ["nftables", pytest.param("iptables", marks=needs_iptables)]  # of NAT, for parametrize

# How who runs a command says that there is none: Python, a shell, `ip netns exec`, netkit; nsenter and others
# by their status, where the command is told beside it.
_SAYINGS = (
    r"No such file or directory: '{0}'",
    r"(?<![\w-]){0}: not found",
    r'exec of "{0}" failed',
    r"there is no way outside: .*`{0}` .*is (not )?in PATH",
    r"(?<![\w-]){0}(?![\w-])(?s:.*)\bstatus 127\b",
)
TUN = "/dev/net/tun"  # everybody's, where udev makes it
_NO_TUN = rf"pasta and slirp4netns need {TUN}|ip tuntap add .*: status 1\n\s*open: Permission denied"
_CLOSED_TUN = f"needs {TUN}, which is not everybody's here"


def lacking(*tools: str) -> str | None:
    """Why a test that looks with these commands is skipped; None if they are all there."""
    return _reason([tool for tool in tools if PACKAGES[tool] and tool in MISSING])


def _reason(missing: list[str]) -> str | None:
    packages = sorted({PACKAGES[tool] for tool in missing})
    return f"needs Debian's {', '.join(packages)} ({', '.join(missing)} not found)" if missing else None


def skipped_for_a_missing_tool(problem: BaseException) -> BaseException:
    """What a test is to end with: a skip if it failed because a command or library is not installed."""
    text = str(problem)
    reason = _reason([tool for tool in MISSING if _is_missed(tool, text)])
    if reason is None and "libpcap is not installed" in text and not has_libpcap():
        reason = "needs Debian's libpcap0.8"
    if reason is None and "No module named 'iptc'" in text and not HAS_IPTC:
        reason = "needs python-iptables"
    if reason is None and re.search(_NO_TUN, text) and not may_open_tun():
        reason = _CLOSED_TUN
    return problem if reason is None else pytest.skip.Exception(reason)


def _is_missed(tool: str, text: str) -> bool:
    return any(re.search(each.format(re.escape(tool)), text) for each in _SAYINGS)


def has_libpcap() -> bool:
    """Whether it can be loaded, not by netkit's way."""
    try:
        ctypes.CDLL("libpcap.so.0.8")  # Debian's name, of libpcap 1.x
    except OSError:
        return False
    return True


def may_open_tun() -> bool:
    """Whether an ordinary user can: this session's, or the one that it becomes."""
    open_to_others = os.geteuid() != 0 or (os.path.exists(TUN) and os.stat(TUN).st_mode & 0o6 == 0o6)
    return open_to_others and os.access(TUN, os.R_OK | os.W_OK)


def cannot_compare() -> str | None:
    """Why no kernel test can say anything: each looks with `ip`, many from programs of their own."""
    return lacking("ip")


def needs(*tools: str) -> pytest.MarkDecorator:
    """A mark for tests whose fixtures look with these commands: `pytestmark = needs("nft")`."""
    reason = lacking(*tools)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


needs_tun = pytest.mark.skipif(not may_open_tun(), reason=_CLOSED_TUN)
