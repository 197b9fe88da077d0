"""The programs that lead out of a namespace, pasta(1) and slirp4netns(1): where they are, how they are told.

Both get the same addresses, those that slirp4netns has by itself: the namespace is ADDRESS, the gateway the
network's second address, the DNS forwarder its third; with IPv6 fd00::100, fd00::2 and fd00::3.
"""

from __future__ import annotations

import os

from netkit.errors import BackendError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._spec.publish import PublishedPort

PACKAGES = {"pasta": "passt", "slirp4netns": "slirp4netns"}  # Debian's, in the order of preference
ADDRESS6, GATEWAY6, DNS6 = "fd00::100", "fd00::2", "fd00::3"  # fixed in slirp4netns
TUN, _TUN_NUMBER = "/dev/net/tun", os.makedev(10, 200)  # Documentation/admin-guide/devices.txt
API_DIRECTORY = "/tmp"  # a tmpfs of the keeper's own
_API = f"{API_DIRECTORY}/netkit-slirp4netns"
_NETNS = "/proc/self/fd/0"  # both are given the namespace as their standard input
_GATEWAY_MAC = "02:00:0a:00:02:02"  # a locally administered one; only the namespace sees it


def find_program(wanted: str | None) -> tuple[str, str]:
    """The program's name and path; BackendError, which names Debian's packages, when there is none."""
    for name in PACKAGES if wanted is None else (wanted,):
        path = _which(name)
        if path is not None:
            return name, path
    missing = " nor ".join(f"`{name}` (Debian package {PACKAGES[name]})" for name in PACKAGES)
    if wanted is None:
        raise BackendError(f"there is no way outside: neither {missing} is in PATH; install one of the two")
    other = next(name for name in PACKAGES if name != wanted)
    raise BackendError(
        f"there is no way outside: `{wanted}` (Debian package {PACKAGES[wanted]}) is not in PATH; install "
        f'it, or take backend="{other}" (Debian package {PACKAGES[other]})'
    )


def loses_answers(path: str, published: Sequence[PublishedPort]) -> list[PublishedPort]:
    """The ports whose answers this pasta would lose if it were to change their number.

    Where the inner UDP port is the lower one, pasta of 2023-03-09 (Debian 12) writes the way back outside of
    its table: udp_invert_portmap() in its udp.c. That of 2025-05-03 (Debian 13) has no such table any more;
    what lies between is taken for the older one, unless it has an option that is as new.
    """
    lower = [each for each in published if each.proto == "udp" and each.host_port > each.port]
    return lower if lower and b"--map-host-loopback" not in _help(path) else []


def _help(path: str) -> bytes:
    """Not its version: some builds say "unknown version"."""
    import subprocess

    said = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return said.stdout + said.stderr


def check_device() -> None:
    """BackendError when the programs cannot make a TAP device: containers are often without."""
    try:
        status = os.stat(TUN)
    except OSError as problem:
        reason = problem.strerror
    else:
        if status.st_rdev == _TUN_NUMBER and os.access(TUN, os.R_OK | os.W_OK):
            return
        reason = "this user may not open it" if status.st_rdev == _TUN_NUMBER else "it is another device"
    raise BackendError(
        f"there is no way outside: pasta and slirp4netns need {TUN} ({reason}): CONFIG_TUN, module `tun`; in "
        f"a container `--device {TUN}`"
    )


def _which(name: str) -> str | None:
    for directory in os.get_exec_path():
        path = os.path.join(directory, name)
        # A relative one would be looked for in the current directory, which anybody may have chosen.
        if os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


class Errand:
    """What a program is to do: plain values, checked by who asks."""

    def __init__(
        self,
        *,
        name: str,
        address: str,
        prefixlen: int,
        network: str,
        gateway: str,
        dns: str | None,
        mtu: int,
        ipv6: bool,
        host_loopback: bool,
        published: Sequence[PublishedPort],
    ) -> None:
        self.name = name
        self.address = address
        self.prefixlen = prefixlen
        self.network = network
        self.gateway = gateway
        self.dns = dns
        self.mtu = mtu
        self.ipv6 = ipv6
        self.host_loopback = host_loopback
        self.published = published

    def order(self, program: str, path: str, template: str) -> dict[str, object]:
        """The keeper's order: command, on which descriptor it says that it is ready, what is to follow."""
        if program == "pasta":
            return {"argv": [path, *self._pasta(template)], "ready": 1, "api": "", "asks": []}
        asks = [_add_forward(each, self.address) for each in self.published]
        return {"argv": [path, *self._slirp4netns()], "ready": 3, "api": _API if asks else "", "asks": asks}

    def _pasta(self, template: str) -> list[str]:
        argv = [
            "--foreground", "--quiet", "--netns-only", "--netns", _NETNS, "--no-netns-quit",
            "--pid", "/proc/self/fd/1",  # written when it is ready
            "--ns-ifname", self.name, "--mtu", str(self.mtu), "--interface", template,
            "--address", self.address, "--netmask", str(self.prefixlen), "--gateway", self.gateway,
            "--mac-addr", _GATEWAY_MAC, "--no-dhcp", "--no-dhcpv6", "--no-ra",
            # Nothing of the outside's loopback on the namespace's own, which is its default.
            "--tcp-ns", "none", "--udp-ns", "none",
        ]  # fmt: skip
        if os.geteuid() == 0:  # else it would become nobody, who may not enter the namespace
            argv += ["--runas", "0:0"]
        argv += ["--address", ADDRESS6, "--gateway", GATEWAY6] if self.ipv6 else ["--ipv4-only"]
        argv += [] if self.host_loopback else ["--no-map-gw"]
        argv += ["--dns", "none"] if self.dns is None else ["--dns-forward", self.dns]
        argv += ["--dns-forward", DNS6] if self.ipv6 and self.dns is not None else []
        for option, proto in (("--tcp-ports", "tcp"), ("--udp-ports", "udp")):
            specs = [f"{p.host_ip}/{p.host_port}:{p.port}" for p in self.published if p.proto == proto]
            argv += [word for spec in specs or ["none"] for word in (option, spec)]
        return argv

    def _slirp4netns(self) -> list[str]:
        argv = [
            "--netns-type=path", "--ready-fd=3", f"--mtu={self.mtu}", f"--cidr={self.network}",
            "--enable-sandbox", "--enable-seccomp",
        ]  # fmt: skip
        argv += ["--enable-ipv6"] if self.ipv6 else []
        argv += [] if self.host_loopback else ["--disable-host-loopback"]
        argv += ["--disable-dns"] if self.dns is None else []
        argv += [f"--api-socket={_API}"] if self.published else []
        return [*argv, _NETNS, self.name]


def _add_forward(published: PublishedPort, address: str) -> str:
    """A request of slirp4netns's API, which is JSON; there is nothing in it that would want quoting."""
    return (
        f'{{"execute": "add_hostfwd", "arguments": {{"proto": "{published.proto}", '
        f'"host_addr": "{published.host_ip}", "host_port": {published.host_port}, '
        f'"guest_addr": "{address}", "guest_port": {published.port}}}}}'
    )


def plain_words(output: bytes) -> bytes:
    """What the program said, without what it says about the system log (pasta, where there is none)."""
    lines = [line for line in output.splitlines() if not line.startswith(b"Failed to send ")]
    return b"\n".join(line for line in lines if line.strip())
