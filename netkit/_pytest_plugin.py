"""The pytest plugin: fixtures of networks, the marker ``netkit``, and what a failed test's report shows.

    _fixtures/lab.py            what the fixtures of one scope have made: it ends with the scope
    _fixtures/makers.py         what the fixtures give: factories of namespaces, LANs, routers
    _fixtures/shaping.py        delay, loss and rate of a `wan`
    _fixtures/requirements.py   ``requires=[...]``: what is missing, and what to do about it
    _fixtures/isolation.py      ``isolate=True``: the test's body inside a namespace
    _fixtures/failure.py        the networks of a failed test, as text and files
    _fixtures/leaks.py          what is left at the end, and which test left it

pytest imports this module in every run on a machine where netkit is installed. So it imports pytest only, and
everything else when a fixture or the marker is used.
"""

from __future__ import annotations

import os
import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from netkit._fixtures.lab import Lab
    from netkit._fixtures.leaks import Leaks
    from netkit._fixtures.makers import (
        LanFactory,
        NamespaceFactory,
        Routed,
        TopologyFactory,
        WanFactory,
    )
    from netkit._namespace import Namespace
    from netkit._topology import Network
    from netkit._veth import VethPair

SCOPES = ("function", "class", "module", "package", "session")
MARKER = (
    "netkit(requires=[...], isolate=False): `requires` names what the test needs of the machine (a link kind "
    "such as 'vxlan', 'root', 'iptables', 'command:tcpdump', ...; `netkit doctor` lists them), or it is "
    "skipped; `isolate` runs its body inside a fresh network namespace"
)
_LAB = "netkit_lab"
_LEFT = "netkit left behind"  # a property of the report of a test that had a process of its own


# -- options, marker ------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --help``."""
    group = parser.getgroup("netkit", "network namespaces")
    group.addoption(
        "--netkit-isolate",
        action="store_true",
        help="run the body of each test inside a fresh network namespace",
    )
    group.addoption(
        "--netkit-capture",
        action="store_true",
        help="capture the packets of the fixtures' namespaces; those of a failed test stay in tmp_path",
    )
    group.addoption(
        "--netkit-strict",
        action="store_true",
        help="what the marker netkit requires and is missing is a failure; so is what tests leave behind",
    )


def pytest_configure(config: pytest.Config) -> None:
    """``pytest --markers``."""
    config.addinivalue_line("markers", MARKER)
    config.stash[_pid_key] = os.getpid()
    config.pluginmanager.register(_Told(config))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the machine can't do."""
    if item.get_closest_marker("netkit") is not None:
        from netkit._fixtures.requirements import check

        check(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Without root an isolated test runs in a process of its own: this one may not enter a namespace."""
    if not _is_isolated(item):
        return None
    from netkit._fixtures import isolation

    return isolation.run_forked(item, nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """With root its body runs inside a namespace, on this thread."""
    if not _is_isolated(item):
        yield
        return
    from netkit._fixtures import isolation

    with isolation.entered(item):
        yield


def _is_isolated(item: pytest.Item) -> bool:
    if item.config.getoption("--netkit-isolate"):
        return isinstance(item, pytest.Function)
    marks = item.iter_markers("netkit")
    return next((bool(mark.kwargs["isolate"]) for mark in marks if "isolate" in mark.kwargs), False)


# -- reports --------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test's report shows its networks."""
    report = yield
    if report.failed and "netkit._fixtures.lab" in sys.modules:
        from netkit._fixtures.failure import add_networks

        add_networks(item, report)
    is_child = os.getpid() != item.config.stash[_pid_key]  # of pytest-forked, or of ours: it ends now
    if is_child and report.when == "teardown" and "netkit._lifecycle" in sys.modules:
        report.user_properties += [(_LEFT, line) for line in _leaks(item.config).left()]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After its fixtures are gone: what the test has made and left."""
    try:
        yield
    finally:
        if "netkit._lifecycle" in sys.modules:
            _leaks(item.config).look(item.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What is still there."""
    if "netkit._lifecycle" in sys.modules:
        left = _leaks(session.config).left()
        output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
        if output is not None:  # a worker of pytest-xdist: its controller tells it
            output["netkit_left"] = left
        _note_left(session.config, left)
    if _left(session.config) and _strict(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """A worker of pytest-xdist has ended."""
    del error
    output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    config: pytest.Config = getattr(node, "config")  # noqa: B009 # xdist's types are not ours to import
    _note_left(config, output.get("netkit_left", []))


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """Left behind: by which test."""
    left = _left(config)
    if left:
        terminalreporter.section("netkit: left behind", yellow=True)
        terminalreporter.write("\n".join(left) + "\n")
    return (yield)


class _Told:
    """What tests in processes of their own have left: their reports say it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _note_left(self._config, [str(line) for name, line in report.user_properties if name == _LEFT])


_leaks_key: pytest.StashKey[Leaks] = pytest.StashKey()
_left_key: pytest.StashKey[list[str]] = pytest.StashKey()
_pid_key: pytest.StashKey[int] = pytest.StashKey()


def _leaks(config: pytest.Config) -> Leaks:
    found = config.stash.get(_leaks_key, None)
    if found is None:
        from netkit._fixtures.leaks import Leaks

        found = config.stash[_leaks_key] = Leaks()
    return found


def _left(config: pytest.Config) -> list[str]:
    nothing: list[str] = []
    return config.stash.get(_left_key, nothing)


def _note_left(config: pytest.Config, left: list[str]) -> None:
    config.stash.setdefault(_left_key, []).extend(left)


# -- fixtures -------------------------------------------------------------------------


def _lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """What the fixtures of this scope make; all of it goes at the scope's end, programs first."""
    from netkit._fixtures.lab import LABS, Lab

    captures = bool(request.config.getoption("--netkit-capture"))
    with Lab(request.node.name or "the session", request.scope, captures) as lab:
        labs = request.node.stash.setdefault(LABS, [])
        labs.append(lab)
        try:
            yield lab
        finally:
            labs.remove(lab)


def _of(request: pytest.FixtureRequest) -> Lab:
    lab: Lab = request.getfixturevalue(_scoped(_LAB, request.scope))
    return lab


def netns(request: pytest.FixtureRequest) -> Namespace:
    """A fresh network namespace, `lo` up and nothing else in it."""
    return _of(request).namespace("netns")


def netns_factory(request: pytest.FixtureRequest) -> NamespaceFactory:
    """Makes fresh namespaces: ``web = netns_factory("web")``; the label stands in reports and errors."""
    from netkit._fixtures.makers import NamespaceFactory

    return NamespaceFactory(_of(request))


def netns_host(request: pytest.FixtureRequest) -> Namespace:
    """A fresh "host": a namespace that forwards, for tests of what sets up a machine's network."""
    return _of(request).host()


def veth(request: pytest.FixtureRequest) -> VethPair:
    """Two namespaces joined: ``near, far = veth`` are the links, ``near.netns`` the namespace.

    192.0.2.1/24 and 2001:db8::1/64 on ``veth.link``, .2 and ::2 on ``veth.peer``; both are called ``eth0``.
    """
    return _of(request).veth()


def lan(request: pytest.FixtureRequest) -> LanFactory:
    """Hosts on a bridge: ``ann, bob = net = lan(2)``, and ``net.address(bob)``."""
    from netkit._fixtures.makers import LanFactory

    return LanFactory(_of(request))


def router(request: pytest.FixtureRequest) -> Routed:
    """Two hosts with a router between them: ``router.client``, ``router.server``, ``router.router``."""
    from netkit._fixtures.makers import WanFactory

    return WanFactory(_of(request))()


def wan(request: pytest.FixtureRequest) -> WanFactory:
    """The same, slow and lossy: ``wan(delay=0.02, loss=0.01, rate="10mbit")``.

    The test is skipped where the kernel has no netem for a delay or a loss, or no tbf for a rate.
    """
    from netkit._fixtures.makers import WanFactory

    return WanFactory(_of(request), _strict(request.config))


def topology(request: pytest.FixtureRequest) -> TopologyFactory | Network:
    """Builds a Topology, or a file with one (TOML, JSON, YAML): ``net = topology("lab.toml")``.

    A path is relative to the test's file. With ``parametrize("topology", [plan], indirect=True)`` it is the
    network itself.
    """
    from netkit._fixtures.makers import TopologyFactory

    factory = TopologyFactory(_of(request), request.path.parent)
    parameter = getattr(request, "param", None)
    return factory if parameter is None else factory(parameter)


def _strict(config: pytest.Config) -> bool:
    return bool(config.getoption("--netkit-strict"))


def _scoped(name: str, scope: str) -> str:
    """As pytest-mock calls its fixtures: ``netns``, ``module_netns``, ``session_netns``."""
    return name if scope == "function" else f"{scope}_{name}"


def _register(function: Callable[..., object], name: str) -> None:
    for scope in SCOPES:
        scoped = _scoped(name, scope)
        globals()[scoped if scope != "function" else f"_{scoped}"] = pytest.fixture(
            scope=scope,  # type: ignore[call-overload]
            name=scoped,
        )(function)


_register(_lab, _LAB)
for _each in (netns, netns_factory, netns_host, veth, lan, router, wan, topology):
    _register(_each, _each.__name__)
