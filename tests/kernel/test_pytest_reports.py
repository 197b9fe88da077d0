"""What the pytest plugin tells of a failure, and keeps of its packets, in suites of their own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness.suites import run
from tests.harness.tools import needs


def test_the_report_of_a_failure_shows_the_networks(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_that_fails(lan, module_netns, netns):
            ann, bob = net = lan(2)
            ann.routes.add("10.99.0.0/16", via=net.address(bob))
            server = ann.popen([sys.executable, "-m", "http.server", "80"], stdout=-1, stderr=-1)
            server.wait_listening(80, timeout=300)
            bob.popen(["sh", "-c", "echo my last words; exit 4"], stdout=-1).wait()
            assert net is None

        def test_without_a_network():
            assert False
        """,
    )
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "*netkit: namespace module_netns*",
            "*netkit: namespace host1*",
            "addresses:",
            "  eth0 * scope global",
            "  10.99.0.0/16 via *",
            "sockets:",
            "  tcp listening   0.0.0.0:80 *",
            "programs:",
            "*http.server 80: runs",
            "*netkit: namespace host2*",
            "*echo my last words; exit 4: ended with 4",
            "    stdout: my last words",
            "*netkit: picture*",
            "*eth0 up   10.*lan:host1",
            "*netkit: files*",
        ]
    )
    assert text.count("netkit: files") == 1
    assert "table local" not in text
    directory = Path(text.split("netkit: files", 1)[1].splitlines()[1])
    assert sorted(path.name for path in directory.glob("*.txt")) == [
        "host1.txt",
        "host2.txt",
        "lan.txt",
        "module_netns.txt",
        "netns.txt",
    ]
    assert (directory / "picture.svg").read_text().startswith("<svg")
    assert "table local" in (directory / "host1.txt").read_text()


def test_the_packets_of_a_failure_are_kept(suite: pytest.Pytester) -> None:
    text = """
        def test_that_fails(lan):
            ann, bob = net = lan(2)
            ann.ping(net.address(bob))
            assert False

        def test_that_passes(veth):
            veth.link.netns.ping("192.0.2.2")
    """
    result = run(suite, text, "--netkit-capture")
    result.assert_outcomes(passed=1, failed=1)
    directory = Path(result.stdout.str().split("netkit: files", 1)[1].splitlines()[1])
    assert sorted(path.name for path in directory.glob("*.pcapng")) == [
        "host1.pcapng",
        "host2.pcapng",
        "lan.pcapng",
    ]
    assert "could not be written" not in result.stdout.str()
    command = ["tcpdump", "-n", "-r", directory / "host1.pcapng", "icmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.findall(r"ICMP echo (\w+)", done.stdout) == ["request", "reply"]


def test_a_report_that_cannot_be_saved_says_so(suite: pytest.Pytester) -> None:
    """tmp_path is read-only, or something is in the way there."""
    result = run(
        suite,
        """
        import os, subprocess

        @pytest.fixture
        def read_only(tmp_path):
            if os.geteuid() != 0:
                tmp_path.chmod(0o500)
                yield
                tmp_path.chmod(0o700)
                return
            subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path], check=True)
            yield
            subprocess.run(["umount", tmp_path], check=True)

        def test_that_fails(netns, read_only):
            assert False

        def test_that_fails_too(netns, tmp_path):
            (tmp_path / "netkit").write_text("in the way")
            assert False
        """,
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "the files could not be written: *Read-only file system*/netkit'"
            if os.geteuid() == 0
            else "the files could not be written: *Permission denied*/netkit'",
            "the files could not be written: *File exists*/netkit'",
        ]
    )


@needs("tshark")
@pytest.mark.capable
def test_on_a_full_disk_all_that_fits_is_saved(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import subprocess

        @pytest.fixture
        def small(tmp_path):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
            yield
            for path in sorted(tmp_path.glob("netkit/*.pcapng")):
                command = ["env", f"HOME={tmp_path}", "tshark", "-r", path]
                done = subprocess.run(command, capture_output=True, text=True)
                print(path.name, "status", done.returncode, len(done.stdout.splitlines()) > 20, done.stderr)
            print(len(list(tmp_path.glob("netkit/*.txt"))), "texts")
            subprocess.run(["umount", tmp_path], check=True)

        def test_that_fails(small, veth):
            with veth.link.netns.socket(type=socket.SOCK_DGRAM) as source:
                for _ in range(200):
                    source.sendto(bytes(1000), ("192.0.2.2", 9))
            assert False
        """,
        "--netkit-capture",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "near.pcapng could not be written: *No space left on device; the packets before are in it: *",
            "near.pcapng status 0 True *",
            "2 texts",
        ]
    )


def test_one_that_is_used_after_its_test_says_whose_it_was(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        kept = []

        def test_one(netns):
            kept.append(netns)

        def test_two():
            with pytest.raises(netkit.StateError, match="'netns' of test_one .*deleted"):
                list(kept[0].links)

        @pytest.fixture(scope="module")
        def mixed(netns): pass

        def test_mixed(mixed): pass
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ScopeMismatch*function scoped fixture netns with a module scoped*"])
