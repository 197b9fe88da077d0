"""Libraries and tools, with their versions."""

from __future__ import annotations

import os

from netkit._diagnostics.finding import Finding

_TOOLS = (
    # name, how it tells its version, Debian's package, what is lost; of these netkit itself runs the last two
    ("ip", "-V", "iproute2", "looking at what netkit made: `ip netns exec NAME ip address`"),
    ("bridge", "-V", "iproute2", "looking at bridge ports: `bridge link`"),
    ("nft", "--version", "nftables", "looking at NAT rules: `nft list ruleset`"),
    (
        "iptables-legacy",
        "--version",
        "iptables",
        'looking at the rules of backend="iptables": `iptables-legacy -t nat -S`',
    ),
    ("ping", "-V", "iputils-ping", "`ping` by hand; ns.ping() does without"),
    ("nsenter", "--version", "util-linux", "entering an anonymous namespace by hand"),
    ("pasta", "--version", "passt", "ns.connect_outside(), unless slirp4netns is there"),
    ("slirp4netns", "--version", "slirp4netns", "ns.connect_outside(), unless pasta is there"),
)
_LIBRARIES = (
    ("pyroute2", "pyroute2", "ns.pyroute2(), and rare link kinds"),
    ("python-iptables", "python-iptables", 'NatRule(backend="iptables")'),
)
_ALSO = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not in an ordinary user's PATH on Debian


def find_libraries() -> list[Finding]:
    """Python distributions that netkit uses where they are."""
    return [_library(*library) for library in _LIBRARIES]


def _library(name: str, distribution: str, lost: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(name, "yes", version(distribution))
    except PackageNotFoundError:
        detail = f"not installed for this Python: pip install {distribution}"
        return Finding(
            name, "no", detail, package=f"python3-{distribution.removeprefix('python-')}", lost=lost
        )


def find_tools() -> list[Finding]:
    """Commands that people use beside netkit, and the two that it runs; and what `iptables -S` will show."""
    found = [_tool(*tool) for tool in _TOOLS]
    place = [tool[0] for tool in _TOOLS].index("iptables-legacy")
    return [*found[: place + 1], *_iptables(), *found[place + 1 :]]


# Which of its two programs `iptables` is, by its version, decides which rules a person sees.
_SHOWS = {
    "(nf_tables)": "`iptables -S` shows the nf_tables tables `ip filter` and `ip nat`, with what "
    "open_forward=True inserts there; not netkit's own tables (`nft list ruleset` does), nor the rules of "
    'backend="iptables" (`iptables-legacy -t nat -S` does)',
    "(legacy)": '`iptables -S` shows the legacy tables, with the rules of backend="iptables"; nothing of '
    "nf_tables, where netkit's rules are by default (`nft list ruleset` shows those)",
}
_IN_USE = "/proc/self/net/ip_tables_names"


def _iptables() -> list[Finding]:
    path = which("iptables")
    if path is None:
        return []  # that iptables-legacy is missing has been said
    version = _version(path, "--version")
    shows = next(
        (words for mark, words in _SHOWS.items() if mark in version), "which rules it shows is not known"
    )
    both = _legacy_in_use() if "(nf_tables)" in version else ""
    return [Finding("iptables", "yes", f"{version}: {shows}; ns.nat lists the NAT rules of all{both}")]


def _legacy_in_use() -> str:
    """The legacy tables that somebody has used in this namespace, beside which iptables-nft is at work."""
    try:
        with open(_IN_USE, encoding="ascii") as file:
            names = ", ".join(sorted(file.read().split()))
    except OSError:
        return ""  # not for an ordinary user, or no ip_tables
    return f". Legacy tables have been opened, too: {names}; packets pass both" if names else ""


def _tool(name: str, version_flag: str, package: str, lost: str) -> Finding:
    path = which(name)
    if path is None:
        return Finding(name, "no", "not found", package=package, lost=lost)
    return Finding(name, "yes", _version(path, version_flag))


def which(name: str) -> str | None:
    """Where a command is, /usr/sbin included."""
    import shutil

    directories = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ALSO))
    return shutil.which(name, path=directories)


def _version(path: str, flag: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            [path, flag],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{path}: {problem}"
    return (done.stdout or done.stderr).strip().partition("\n")[0] or path
