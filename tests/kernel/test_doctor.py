"""`netkit doctor`: what it says is what the system's own tools find, and it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import netkit
from netkit import Namespace
from netkit._diagnostics import software
from netkit._diagnostics.examination import Examination
from netkit._diagnostics.feature import Feature
from netkit._diagnostics.features import FEATURES
from netkit._diagnostics.finding import FIELDS, Finding
from netkit._diagnostics.kernel import Kernel
from netkit._diagnostics.report import PARTS, WIDTH, report
from netkit._diagnostics.software import find_tools
from netkit._system import user_namespace
from netkit.errors import AccessError, UnsupportedError
from tests.harness import machine, oracle
from tests.harness.ordinary import PYTHON, Ordinary, cannot_be_one, ordinary_user
from tests.harness.patience import LONG
from tests.harness.tools import lacking, may_open_tun

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "netkit", "doctor"]

# How iproute2 makes one of each kind that the doctor tries; LOWER is a veth.
LINKS = {
    "veth": "type veth peer name far",
    "bridge": "type bridge",
    "bridge vlan_filtering": "type bridge vlan_filtering 1",
    "vxlan": "type vxlan id 42 dstport 4789",
    "macvlan": "link lower type macvlan",
    "ipvlan": "link lower type ipvlan",
    "vlan": "link lower type vlan id 42",
    "dummy": "type dummy",
    "bond": "type bond",
    "ifb": "type ifb",
    "wireguard": "type wireguard",
    "vrf": "type vrf table 42",
    "geneve": "type geneve id 42 remote 192.0.2.1",
    "gretap": "type gretap local 192.0.2.2 remote 192.0.2.1",
}


@cache
def examined() -> dict[str, Any]:
    """The doctor's JSON, read once; it must have changed nothing."""
    before = machine.read()
    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.read() == before
    return json.loads(done.stdout)


def state(part: str, name: str) -> str:
    (found,) = [finding for finding in examined()[part] if finding["name"] == name]
    return found["state"]


# -- against the system's own tools ----------------------------------------------------------


@pytest.mark.parametrize("kind", LINKS)
def test_a_kind_is_there_when_ip_can_make_it(kind: str, host: Namespace) -> None:
    if state("features", kind) == "untried":
        pytest.skip("its module is not loaded, and loading it would make a device")
    oracle.succeeds(host, "ip", "link", "add", "lower", "type", "veth", "peer", "name", "peer")
    possible = oracle.succeeds(host, "ip", "link", "add", "new", *LINKS[kind].split())
    assert state("features", kind) == ("yes" if possible else "no")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("tun/tap", "ip tuntap add dev tap mode tap"),
        ("netem", "tc qdisc add dev lo root netem delay 1ms"),
        ("policy rules", "ip rule add from 10.9.0.0/16 table 100"),
        ("multiple tables", "ip route add blackhole 10.9.0.0/16 table 100"),
        ("multipath routes", "ip route add 10.8.0.0/16 nexthop dev lo nexthop dev lo weight 2"),
        ("IPv6", "ip -6 address add fd00::1/128 dev lo"),
        ("ping (raw ICMP)", "ping -c 1 -W 1 127.0.0.1"),
        ("nf_tables inet tables", "nft add table inet probe"),
        ("nf_tables masquerade", "nft -f -"),
        ("legacy iptables nat", "iptables-legacy -w -t nat -S"),
        ("legacy ip6tables nat", "ip6tables-legacy -w -t nat -S"),
    ],
)
def test_a_feature_is_there_when_its_command_works(name: str, command: str, host: Namespace) -> None:
    words = command.split()
    if reason := lacking(words[0]):
        pytest.skip(reason)
    if name == "nf_tables masquerade":
        rules = "table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }"
        possible = oracle.run_in(host, "nft", "-c", "-f", "-", input=rules) == ""
    else:
        possible = oracle.succeeds(host, *words)
    # A module that this very command loads, as on Debian for iptables, was not tried before.
    missing = "no" if name != "tun/tap" or may_open_tun() else "untried"
    assert state("features", name) in (("yes", "untried") if possible else (missing,))


def test_the_kernel_s_configuration_agrees() -> None:
    kernel, release = Kernel(), os.uname().release
    told = ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config")
    if not any(map(os.path.exists, told)):
        pytest.skip("this kernel does not tell its configuration")
    assert kernel.option("CONFIG_NET") == "y"
    unset = {each.name for each in FEATURES if each.option and kernel.option(each.option) == "n"}
    missing = {finding["name"] for finding in examined()["features"] if finding["state"] == "no"}
    assert unset - missing == set()
    for finding in examined()["features"]:
        if finding["name"] in unset:
            assert f"{finding['option']} is not set in this kernel" in finding["detail"]


def test_tools_and_libraries_are_those_installed() -> None:
    for finding in examined()["tools"]:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        assert (finding["state"] == "yes") == (shutil.which(finding["name"], path=path) is not None)
        assert finding["state"] == "yes" or finding["package"]
    for finding in examined()["libraries"]:
        if finding["state"] == "yes":
            assert finding["detail"] == metadata.version(finding["name"])


def test_the_backends_are_those_that_work(host: Namespace) -> None:
    for name in ("nftables", "iptables"):
        try:
            with netkit.NatRule.masquerade(host, oif="lo", backend=name):  # type: ignore[arg-type]
                works = True
        except netkit.NetkitError:
            works = False
        assert state("backends", name) == ("yes" if works else "no")


# -- its form ----------------------------------------------------------------------------------


def test_json_has_its_parts() -> None:
    found = examined()
    assert sorted(found) == sorted(["netkit", "kernel", "python", "where", *PARTS])
    assert found["netkit"] == netkit.__version__
    assert found["kernel"] == os.uname().release
    for part in PARTS:
        for finding in found[part]:
            assert tuple(finding) == FIELDS
            assert finding["state"] in ("yes", "no", "untried")
            assert all(isinstance(value, str) for value in finding.values())


def test_each_thing_missing_says_its_name_and_what_is_lost() -> None:
    for part in PARTS:
        for finding in examined()[part]:
            if finding["state"] != "yes":
                assert finding["detail"]
                assert finding["lost"]
                named = ("option", "module", "package", "sysctl")
                assert part == "privileges" or any(finding[field] for field in named)


def test_the_text_says_the_same() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if len(line) > WIDTH] == []
    for part in PARTS:
        for finding in examined()[part]:
            sign = {"yes": "yes", "no": "NO ", "untried": " ? "}[finding["state"]]
            assert f"\n  {sign}    {finding['name']}" in done.stdout


# -- who may do less ---------------------------------------------------------------------------


def _old_python() -> bool:
    code = "import sys; raise SystemExit(sys.version_info < (3, 11))"
    return subprocess.run([PYTHON, "-c", code]).returncode != 0


@pytest.fixture
def nobody() -> Iterator[Ordinary]:
    """An ordinary user without any capability.

    What he reads is not below tmp_path: each pytest of root's that starts beside this one closes
    /tmp/pytest-of-root to all others again (_pytest/tmpdir.py).
    """
    if reason := cannot_be_one():
        pytest.skip(reason)
    if _old_python():
        pytest.skip(f"{PYTHON} is older than 3.11")
    with ordinary_user() as user:
        yield user


def test_an_ordinary_user_is_told_what_is_lacking(nobody: Ordinary) -> None:
    done = nobody.run([PYTHON, "-m", "netkit", "doctor", "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    states = {finding["name"]: finding for finding in found["privileges"]}
    for name in ("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW"):
        assert states[name]["state"] == "no"
    if states["user namespaces"]["state"] == "yes":
        assert found["where"] == "in a throw-away user namespace with a network namespace"
        # What the helper process does for everybody is not lost: tests/rootless shows it.
        lost = {name: finding["lost"] for name, finding in states.items()}
        assert lost["CAP_SYS_ADMIN"] == "ns.entered(), and entering namespaces that are not netkit's"
        assert "not netkit's" in lost["CAP_NET_RAW"]
        assert 'Namespace("name")' not in lost["named namespaces"]
        veth = next(finding for finding in found["features"] if finding["name"] == "veth")
        assert veth["state"] == "yes"
    else:
        assert "user.max_user_namespaces = " in states["user namespaces"]["sysctl"]


def test_an_ordinary_user_can_play_the_demo(nobody: Ordinary) -> None:
    if nobody.run(["unshare", "--user", "--net", "true"]).returncode:
        pytest.skip("no user namespaces here")
    done = nobody.run([PYTHON, "-m", "netkit", "demo"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Without root (CAP_SYS_ADMIN and CAP_NET_ADMIN are missing)")
    assert "you are 192.168.122.220" in done.stdout
    assert done.stdout.endswith("Verdict: nothing is left.\n")


def _without_anything(*argv: str) -> subprocess.CompletedProcess[str]:
    """In a user namespace where this user has no uid, no capability, and so no way to another one."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    return subprocess.run(["unshare", "-U", *drop, *argv], capture_output=True, text=True, timeout=LONG)


@pytest.fixture
def no_namespaces() -> None:
    """Without anything there is none to be had."""
    if _without_anything("unshare", "-U", "true").returncode == 0:
        pytest.skip("this kernel lets everybody make user namespaces")


def test_without_any_namespace_each_feature_is_untried(no_namespaces: None) -> None:
    done = _without_anything(*COMMAND, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["where"] == "not tried"
    assert [finding["name"] for finding in found["features"]] == [each.name for each in FEATURES]
    assert {finding["state"] for finding in found["features"] + found["backends"]} == {"untried"}
    users = next(each for each in found["privileges"] if each["name"] == "user namespaces")
    assert users["state"] == "no"
    assert "user.max_user_namespaces = " in users["sysctl"]
    text = _without_anything(*COMMAND)
    assert "no namespace to try it in: Operation not permitted" in text.stdout
    assert [line for line in text.stdout.splitlines() if len(line) > WIDTH] == []


def test_without_any_namespace_the_demo_says_why(no_namespaces: None) -> None:
    done = _without_anything(sys.executable, "-m", "netkit", "demo")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("netkit: cannot make a user namespace: Operation not permitted (EPERM)")
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "user.max_user_namespaces = " in done.stderr


# -- a feature by itself --------------------------------------------------------------------------


class KernelOf(Kernel):
    """A kernel with these options and these modules; some are loaded when a feature is tried."""

    def __init__(
        self, options: dict[str, str], loadable: tuple[str, ...] = (), loads: tuple[str, ...] = ()
    ) -> None:
        self._options = options
        self._loaded = set()
        self._loadable = set(loadable)
        self._loads = set(loads)

    def is_loaded(self, module: str) -> bool:
        return module in self._loads


def _feature(problem: Exception | None = None, makes: str = "") -> Feature:
    def attempt(netns: Namespace) -> None:
        if problem is not None:
            raise problem

    return Feature("thing", attempt, "CONFIG_THING", "thing", "things", makes)


def test_a_module_that_would_make_devices_is_not_loaded(host: Namespace) -> None:
    """`bonding` makes bond0, `dummy` dummy0, `ifb` ifb0 in the machine's own namespace when loaded."""
    tried = _feature(AssertionError("it was tried"), makes="thing0")
    found = tried.find(host, KernelOf({"CONFIG_THING": "m"}, ("thing",)))
    assert found.state == "untried"
    assert "loading it makes thing0 in the machine's own namespace" in found.detail


def test_a_module_that_a_program_loads_is_not_missing(host: Namespace) -> None:
    """iptables-legacy runs modprobe; before that the kernel says `Protocol not available`."""
    refusal = UnsupportedError("make a thing", 92, extack="no thing")
    tried = Feature("thing", _feature(refusal).attempt, "CONFIG_THING", "thing", "things", loader="things")
    found = tried.find(host, KernelOf({"CONFIG_THING": "m"}, ("thing",)))
    assert (found.state, found.detail) == (
        "untried", "there as a module, which things loads when root first uses it"
    )  # fmt: skip
    assert tried.find(host, KernelOf({})).state == "no"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, "no thing; CONFIG_THING is not set in this kernel"),
        ({"CONFIG_THING": "m"}, "no thing; CONFIG_THING=m, but the module thing does not load here"),
        ({"CONFIG_THING": "y"}, "no thing"),
    ],
)
def test_what_is_missing_has_the_kernel_s_words(
    option: dict[str, str], expected: str, host: Namespace
) -> None:
    refusal = UnsupportedError("make a thing", 95, extack="no thing")
    found = _feature(refusal).find(host, KernelOf(option))
    assert (found.state, found.detail) == ("no", expected)
    assert found.called == "CONFIG_THING, module thing"


def test_a_module_that_did_load_is_not_the_reason(host: Namespace) -> None:
    refusal = UnsupportedError("make a thing", 16)
    here = KernelOf({"CONFIG_THING": "m"}, ("thing",), loads=("thing",))
    assert _feature(refusal).find(host, here).detail == "Device or resource busy"


def test_a_module_that_waits_to_be_loaded_has_its_command(host: Namespace) -> None:
    """A missing /dev/net/tun: opening it can't load the module, so a person has to."""
    missing = FileNotFoundError(2, "No such file or directory")
    found = _feature(missing).find(host, KernelOf({"CONFIG_THING": "m"}, ("thing",)))
    assert found.detail.endswith("; CONFIG_THING=m, but the module is not loaded: modprobe thing")


def test_what_is_not_allowed_is_not_missing(host: Namespace) -> None:
    for problem in (AccessError("make a thing", 1), PermissionError(13, "Permission denied")):
        assert _feature(problem).find(host, KernelOf({})).state == "untried"


def test_a_bug_of_ours_is_not_taken_for_a_missing_feature(host: Namespace) -> None:
    with pytest.raises(ZeroDivisionError):
        _feature(ZeroDivisionError()).find(host, KernelOf({}))


def test_modules_are_known_by_the_names_of_proc_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/modules": ["veth 45056 0 - Live 0x0000000000000000"],
        f"/lib/modules/{os.uname().release}/modules.dep": [
            "kernel/drivers/net/veth.ko.xz:",
            "kernel/net/bridge/br-netfilter.ko: kernel/net/bridge/bridge.ko",
        ],
    }
    monkeypatch.setattr("netkit._diagnostics.kernel._lines", lambda path: files.get(path, []))
    kernel = Kernel()
    assert kernel.would_load("br_netfilter")
    assert not kernel.would_load("veth")
    assert not kernel.would_load("absent")


def test_the_report_tells_all_of_a_finding() -> None:
    found = Examination()
    found.features = [
        Finding("here", "yes"),
        Finding(
            "gone", "no", "a reason " * 20, option="CONFIG_X", module="x", package="p", lost="the use of it"
        ),
    ]
    text = "\n".join(report(found))
    assert "\n  yes    here\n" in text
    assert "it is called: CONFIG_X, module x, Debian package p" in text
    assert "without it: no the use of it" in text


def test_capabilities_decide_where_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_namespace, "effective_capabilities", lambda: frozenset({"CAP_NET_ADMIN"}))
    assert not user_namespace.may_make_namespaces()
    both = frozenset({"CAP_NET_ADMIN", "CAP_SYS_ADMIN"})
    monkeypatch.setattr(user_namespace, "effective_capabilities", lambda: both)
    assert user_namespace.may_make_namespaces()


def test_no_feature_is_tried_twice() -> None:
    names = [each.name for each in FEATURES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("said", "shown", "hidden"),
    [
        (
            "iptables v1.8.9 (nf_tables)",
            "shows the nf_tables tables `ip filter` and `ip nat`",
            "`nft list ruleset`",
        ),
        ("iptables v1.8.9 (legacy)", "shows the legacy tables", "nothing of nf_tables"),
        ("iptables v1.4.7", "is not known", ""),
    ],
)
def test_F59_what_iptables_will_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, shown: str, hidden: str
) -> None:
    program = tmp_path / "iptables"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = [each for each in find_tools() if each.name == "iptables"]
    assert found.detail.startswith(f"{said}: ")
    assert shown in found.detail
    assert hidden in found.detail
    assert "ns.nat lists the NAT rules of all" in found.detail


def test_F59_legacy_tables_in_use_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\necho 'iptables v1.8.9 (nf_tables)'\n")
    program.chmod(0o755)
    (tmp_path / "names").write_text("nat\nfilter\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(software, "_IN_USE", str(tmp_path / "names"))
    (found,) = [each for each in find_tools() if each.name == "iptables"]
    assert found.detail.endswith("Legacy tables have been opened, too: filter, nat; packets pass both")
    (tmp_path / "names").write_text("")
    (found,) = [each for each in find_tools() if each.name == "iptables"]
    assert "opened" not in found.detail
