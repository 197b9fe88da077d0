"""The pytest plugin beside other workers, and with all that ends a run: nothing is left, or it is told."""

from __future__ import annotations

import os

import pytest

from netkit import wait_for
from netkit._system import mode
from tests.harness.patience import LONG
from tests.harness.processes import running, unique_sleep
from tests.harness.suites import run

ROOTLESS = mode.decide()[0]


# -- in parallel ------------------------------------------------------------------------

MANY = """
    @pytest.mark.parametrize("number", range(60))
    def test_it(veth, lan, number):
        netkit.wait_for(lambda: veth.link.netns.ping("192.0.2.2").received, timeout=300)
"""


def test_workers_do_not_clash(suite: pytest.Pytester) -> None:
    run(suite, MANY, "-p", "xdist", "-n", "4").assert_outcomes(passed=60)


# As pytest-forked does it, which itself does not work with pytest 9: the child's reports are the parent's.
FORKED = """
import json
import os

def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol

    hook = item.config.hook
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        told = [hook.pytest_report_to_serializable(config=item.config, report=each) for each in reports]
        with open(writing, "w") as file:
            json.dump(told, file, default=str)
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        told = json.load(file)
    assert os.waitpid(child, 0)[1] == 0
    for each in told:
        report = hook.pytest_report_from_serializable(config=item.config, data=each)
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
AS_FORKED = ("-W", "ignore::DeprecationWarning")


def test_forked_tests_work(suite: pytest.Pytester) -> None:
    suite.makeconftest(FORKED)
    result = run(
        suite,
        """
        @pytest.mark.parametrize("number", range(3))
        def test_it(veth, lan, number):
            netkit.wait_for(lambda: veth.link.netns.ping("192.0.2.2").received, timeout=300)

        def test_that_fails(veth, module_netns):
            assert veth is None
        """,
        *AS_FORKED,
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*netkit: namespace far*", "*netkit: picture*"])


# -- what is left -----------------------------------------------------------------------

CARELESS = """
    kept = []

    def test_careless():
        kept.append(netkit.Namespace().create())

    @pytest.mark.netkit(isolate=True)
    def test_careless_inside():
        kept.append(netkit.Namespace().create())

    def test_careful(netns):
        with netkit.Namespace():
            pass
"""
TOLD = ["*::test_careless left <Namespace anonymous>", "*::test_careless_inside left <Namespace anonymous>"]


def test_what_is_left_is_told_with_its_test(suite: pytest.Pytester) -> None:
    """Without root, an isolated test has a process of its own, whose end took it down."""
    result = run(suite, CARELESS)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*netkit: left behind*"])
    result.stdout.fnmatch_lines_random(TOLD)
    assert result.stdout.str().count("::test_care") == 2
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("forked", [False, True], ids=["", "forked"])
def test_with_the_option_it_fails_the_run(
    suite: pytest.Pytester, workers: tuple[str, ...], forked: bool
) -> None:
    if forked:
        suite.makeconftest(FORKED)
    result = run(suite, CARELESS, "--netkit-strict", *AS_FORKED, *workers)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines_random(TOLD)
    assert result.stdout.str().count("::test_care") == 2
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# -- early ends -------------------------------------------------------------------------


LATE = ("-p", "pytest_timeout", "--timeout=1", "-o", "timeout_func_only=true")


@pytest.mark.parametrize(
    ("how", "arguments"),
    [
        ("fails", ("-x",)),
        ("waits", (*LATE, "--timeout-method=signal")),
        ("waits", (*LATE, "--timeout-method=thread")),
        ("is interrupted", ()),
        ("is interrupted again and again", ()),
    ],
    ids=["-x", "timeout by signal", "timeout by thread", "Ctrl-C", "Ctrl-C repeated"],
)
def test_an_early_end_leaves_nothing(suite: pytest.Pytester, how: str, arguments: tuple[str, ...]) -> None:
    """A timeout by a thread ends the process at once (os._exit): the guard cleans up, or the broker's end."""
    sleep = unique_sleep()
    result = run(
        suite,
        f"""
        import os, signal, threading

        heard = threading.Event()

        def interrupt(times):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(0.01)
            while not heard.wait(5):  # those just before the wait began did not end it
                os.kill(os.getpid(), signal.SIGINT)

        def test_it(lan, session_netns, netns_factory):
            (host,) = lan(1)
            with netkit.Namespace("early-{os.getpid()}"):
                for _ in range(4):
                    netns_factory("more").popen(["sh", "-c", "{sleep} & {sleep}"])
                host.popen({sleep.split()}, start_new_session=True)
                if {how!r} != "fails":
                    if "interrupted" in {how!r}:
                        times = 5 if "again" in {how!r} else 1
                        threading.Timer(0.1, interrupt, [times]).start()
                    try:
                        threading.Event().wait(300)
                    finally:
                        heard.set()
                assert False

        def test_after():
            pass
        """,
        *arguments,
    )
    if "thread" in "".join(arguments):
        assert result.ret == 1
        assert "Timeout" in result.stdout.str() + result.stderr.str()
    elif "interrupted" in how:
        assert result.ret != pytest.ExitCode.OK  # what pytest does at the end may be interrupted, too
    else:
        assert result.parseoutcomes()["failed"] == 1
    wait_for(lambda: not running(sleep), timeout=LONG)
    wait_for(lambda: not os.path.lexists(f"/run/netns/early-{os.getpid()}"), timeout=LONG)
