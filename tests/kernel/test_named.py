"""Names of namespaces: what `ip netns`, `ip -n` and nsenter(1) find, and when a name is free again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netkit import ExistsError, Namespace, NotFoundError, SpecError, StateError
from tests.harness import place
from tests.harness.here import identity
from tests.harness.killed import doomed
from tests.harness.oracle import ip, run_in
from tests.harness.stale_names import dangling, placeholder, reused

DIRECTORY = Path("/run/netns")

# Without root a name is a mount in the broker's /run/netns, which nothing outlives; what does is about
# processes that have the capabilities.
capable = pytest.mark.capable
both = pytest.mark.parametrize(
    "persistent", [pytest.param(False, id="symlink"), pytest.param(True, id="mount", marks=capable)]
)


@pytest.fixture(autouse=True)
def directory() -> Iterator[None]:
    global DIRECTORY
    DIRECTORY = place.path()  # another one, if a test has ended the broker
    assert registered() == []
    yield
    assert registered() == []
    while (
        subprocess.run(place.there("umount", "-l", "/run/netns"), stderr=subprocess.DEVNULL).returncode == 0
    ):
        pass  # the shared mount that `ip netns add` makes of the directory, and so do we


def registered() -> list[str]:
    return place.names()


def output(*argv: str) -> str:
    return subprocess.run(place.there(*argv), capture_output=True, text=True, check=True).stdout


def mounts() -> list[str]:
    """The namespaces mounted in /run/netns; by way of the directory's own mount each is there twice."""
    lines = Path(f"/proc/{place.holder()}/mountinfo").read_text().splitlines()
    return sorted({line.split()[4] for line in lines if line.split()[4].startswith("/run/netns/")})


# -- who finds it ------------------------------------------------------------------


@both
def test_others_find_it(persistent: bool) -> None:
    with Namespace("red", persistent=persistent) as red:
        assert red.name == "red"
        assert red.path == str(DIRECTORY / "red")
        assert identity(red.path) == identity(red.fileno())
        inode = f"net:[{os.fstat(red.fileno()).st_ino}]\n"
        assert output("ip", "netns", "exec", "red", "readlink", "/proc/self/ns/net") == inode
        assert output("nsenter", "--net=/run/netns/red", "readlink", "/proc/self/ns/net") == inode
        output("ip", "-n", "red", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        assert sorted(item.name for item in red.links) == ["lo", "v0", "v1"]
        assert "red" in output("ip", "netns", "list").split()
        with Namespace.open("red") as again:
            assert identity(again.fileno()) == identity(red.fileno())
    assert registered() == []


@capable
def test_F70_a_symlink_leads_to_a_high_descriptor_of_ours() -> None:
    with Namespace("red") as red:
        target = os.readlink("/run/netns/red")
        found = re.fullmatch(rf"/proc/{os.getpid()}/fd/(\d+)", target)
        assert found is not None
        assert int(found[1]) >= 300
        assert identity(int(found[1])) == identity(red.fileno())
        assert os.get_inheritable(int(found[1])) is False
    assert not os.path.lexists(target)
    assert mounts() == []


@capable
def test_a_persistent_one_is_the_mount_of_ip_netns_add() -> None:
    output("ip", "netns", "add", "theirs")
    with Namespace("ours", persistent=True):
        kinds = [stat_of(name) for name in ("ours", "theirs")]
        assert kinds[0] == kinds[1]
        assert mounts() == ["/run/netns/ours", "/run/netns/theirs"]
    assert mounts() == ["/run/netns/theirs"]
    output("ip", "netns", "delete", "theirs")


def stat_of(name: str) -> tuple[bool, str]:
    path = DIRECTORY / name
    return path.is_symlink(), output("stat", "-f", "-c", "%T", str(path))


@both
def test_the_name_is_free_at_once_fifty_times(persistent: bool) -> None:
    for _ in range(50):
        with Namespace("red", persistent=persistent) as red:
            assert identity(str(DIRECTORY / "red")) == identity(red.fileno())
        assert registered() == []


@both
def test_the_name_goes_when_the_body_raises(persistent: bool) -> None:
    with pytest.raises(ZeroDivisionError), Namespace("red", persistent=persistent):
        raise ZeroDivisionError
    assert registered() == []
    assert mounts() == []


@both
def test_many_names_at_once(persistent: bool) -> None:
    made = [Namespace(f"box{number}", persistent=persistent).create() for number in range(30)]
    assert len({identity(str(DIRECTORY / f"box{number}")) for number in range(30)}) == 30
    for ns in reversed(made):
        ns.delete()
    assert mounts() == []


LEGAL = ["a", "red.blue", "0", "a:b", "A_b-c", "b%d", "réd", "x" * 255, "é" * 127]


@both
@pytest.mark.parametrize("name", LEGAL, ids=ascii)
def test_odd_names_that_are_fine(name: str, persistent: bool) -> None:
    with Namespace(name, persistent=persistent) as ns:
        assert ns.name == name
        inode = output("ip", "netns", "exec", name, "readlink", "/proc/self/ns/net").strip()
        assert inode == f"net:[{os.fstat(ns.fileno()).st_ino}]"


HOSTILE = [
    "", ".", "..", ".hidden", "-rf", "a/b", "/abs", "../x", "../../tmp/netkit-x", "a b", " a", "a\n", "a\tb",
    "a\0b", "\0", "x" * 256, "é" * 128, "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_F25_hostile_names_are_refused_before_anything_happens(name: str) -> None:
    places = ("/proc/self/fd", "/run/netns", "/run", "/")  # what is in /tmp is everybody's
    before = [sorted(os.listdir(each)) for each in places if os.path.exists(each)]
    with pytest.raises(SpecError) as caught:
        Namespace(name)
    assert "namespace name" in str(caught.value)
    assert [sorted(os.listdir(each)) for each in places if os.path.exists(each)] == before
    assert not os.path.lexists("/tmp/netkit-x")


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "/run/netns/a\0b", b"red", 3, None, True], ids=ascii)
def test_hostile_names_are_not_opened_either(name: str) -> None:
    with pytest.raises(SpecError):
        Namespace.open(name)


def test_a_path_object_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Namespace("red") as red:
        with pytest.raises(NotFoundError):
            Namespace.open(Path("red"))
        monkeypatch.chdir(DIRECTORY)
        with Namespace.open(Path("red")) as again:
            assert identity(again.fileno()) == identity(red.fileno())
            assert again.name is None
            monkeypatch.chdir("/")
            assert os.path.isabs(again.path)
            assert identity(again.path) == identity(red.fileno()), "from any directory"


@capable
@pytest.mark.parametrize("persistent", [False, True], ids=["symlink", "mount"])
def test_F21_F22_the_path_is_never_that_of_another_namespace(persistent: bool) -> None:
    with Namespace("red", persistent=persistent) as red, Namespace.open("red") as again:
        assert red.path == again.path == str(DIRECTORY / "red")
        subprocess.run(["ip", "netns", "delete", "red"], check=False, capture_output=True)
        assert registered() == []
        for each in (red, again):
            assert identity(each.path) == identity(red.fileno())
        output("ip", "netns", "add", "red")
        for each in (red, again):
            assert identity(each.path) == identity(red.fileno()) != identity(str(DIRECTORY / "red"))
    output("ip", "netns", "delete", "red")


def test_the_path_of_what_was_opened_in_proc_self_is_for_others_too() -> None:
    with Namespace.open("/proc/self/ns/net") as here:
        assert here.path == f"/proc/{os.getpid()}/fd/{here.fileno()}"


# -- names that are taken, stale or something else ---------------------------------


def test_a_name_that_this_program_has_itself_is_told(host: Namespace) -> None:
    """As when a notebook's cell is run once more: what open() gives could not be deleted."""
    with Namespace("red") as red:
        with pytest.raises(
            ExistsError, match=re.escape("this program's own, <Namespace 'red'>: delete() that")
        ):
            Namespace("red").create()
        assert red.path == str(DIRECTORY / "red")


@both
def test_a_taken_name_is_left_as_it_is(persistent: bool) -> None:
    with Namespace("red") as first:
        _taken_by(identity(first.fileno()), persistent)
    if not place.ROOTLESS:
        with Namespace("red", persistent=True) as first:
            _taken_by(identity(first.fileno()), persistent)
    output("ip", "netns", "add", "red")
    _taken_by(identity(str(DIRECTORY / "red")), persistent)
    output("ip", "netns", "delete", "red")


def _taken_by(other: tuple[int, int], persistent: bool) -> None:
    ns = Namespace("red", persistent=persistent)
    with pytest.raises(ExistsError, match=r"'red'.*Namespace\.open\('red'\)") as caught:
        ns.create()
    assert isinstance(caught.value, FileExistsError)
    assert not hasattr(caught.value, "__notes__")
    assert not ns.exists
    assert identity(str(DIRECTORY / "red")) == other
    output("ip", "netns", "exec", "red", "true")


@both
def test_it_can_be_created_when_the_name_is_free_again(persistent: bool) -> None:
    ns = Namespace("red", persistent=persistent)
    with Namespace("red"), pytest.raises(ExistsError):
        ns.create()
    with ns:
        assert identity(str(DIRECTORY / "red")) == identity(ns.fileno())


def _killed(path: Path) -> None:
    """What a process leaves that was killed after its guard, which would have taken it away."""
    with doomed(f"own(Namespace({path.name!r}))") as program:
        program.kill_guard()
        program.kill()
    assert path.is_symlink()


@both
@pytest.mark.parametrize("leave", [dangling, reused, placeholder, pytest.param(_killed, marks=capable)])
def test_F24_a_stale_name_is_told_and_repaired(leave: Callable[[Path], None], persistent: bool) -> None:
    leave(DIRECTORY / "red")
    # By path, a placeholder is known for one only in /run/netns itself.
    by_path = leave is not placeholder or not place.ROOTLESS
    for given in ("red", str(DIRECTORY / "red"), DIRECTORY / "red")[: 3 if by_path else 1]:
        with pytest.raises(NotFoundError, match="stale"):
            Namespace.open(given)
    with Namespace("red", persistent=persistent) as red:
        assert identity(str(DIRECTORY / "red")) == identity(red.fileno())
        output("ip", "netns", "exec", "red", "true")


def test_a_missing_name(tmp_path: Path) -> None:
    for given in ("nobody", tmp_path / "nobody", "/run/netns/nobody"):
        with pytest.raises(NotFoundError, match="nobody") as caught:
            Namespace.open(given)
        assert "stale" not in str(caught.value)
        assert isinstance(caught.value, KeyError)


@both
def test_F25_what_is_no_namespace_is_neither_opened_nor_replaced(tmp_path: Path, persistent: bool) -> None:
    ordinary = tmp_path / "file"
    ordinary.write_text("kept")
    with pytest.raises(SpecError, match="no network namespace"):
        Namespace.open(ordinary)
    taken = DIRECTORY / "file"
    taken.write_text("kept")
    with pytest.raises(SpecError, match="no network namespace"):
        Namespace.open("file")
    with pytest.raises(ExistsError, match="'file'"):
        Namespace("file", persistent=persistent).create()
    assert (taken.read_text(), ordinary.read_text()) == ("kept", "kept")
    taken.unlink()


# -- names that others change meanwhile --------------------------------------------


@both
def test_F21_taken_away_by_others_is_success(persistent: bool) -> None:
    """F21: what is held goes on, and the end is no error."""
    with Namespace("red", persistent=persistent) as red:
        if persistent:
            output("ip", "netns", "delete", "red")
        else:
            place.unname("red")
        run_in(red, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        assert len(red.links) == 3
        assert red.exists


@both
def test_F22_made_anew_by_others_is_theirs(persistent: bool) -> None:
    """F22"""
    with Namespace("red", persistent=persistent) as red:
        if persistent:
            output("ip", "netns", "delete", "red")
        else:
            place.unname("red")
        output("ip", "netns", "add", "red")
        assert identity(str(DIRECTORY / "red")) != identity(red.fileno())
    output("ip", "netns", "exec", "red", "true")
    output("ip", "netns", "delete", "red")


@both
def test_F26_the_directory_is_made_when_it_is_missing(persistent: bool) -> None:
    DIRECTORY.rmdir()
    try:
        with Namespace() as ns:  # needs none
            assert not DIRECTORY.exists()
            assert ns.exists
        with Namespace("red", persistent=persistent):
            output("ip", "netns", "exec", "red", "true")
    finally:
        DIRECTORY.mkdir(exist_ok=True)


# -- persistent, detached, adopted -------------------------------------------------


@capable
def test_a_persistent_one_is_deleted_with_its_block() -> None:
    with Namespace("red", persistent=True) as red, pytest.raises(StateError):
        red.close()
    assert registered() == mounts() == []


@capable
def test_create_delete_of_a_persistent_one() -> None:
    ns = Namespace("red", persistent=True)
    for _ in range(3):
        ns.create()
        assert mounts() == ["/run/netns/red"]
        ns.delete()
        assert registered() == []


@capable
@both
def test_detached_it_outlives_block_and_close(persistent: bool) -> None:
    with Namespace("red", persistent=persistent) as red:
        assert red.detach() is red
        held = identity(red.fileno())
        assert len(red.links) == 1  # it goes on as a borrowed handle
        with pytest.raises(StateError, match="borrowed"):
            red.delete()
    with pytest.raises(StateError):
        red.fileno()
    assert identity(str(DIRECTORY / "red")) == held
    assert not (DIRECTORY / "red").is_symlink()
    Namespace.open("red").adopt().delete()
    assert registered() == mounts() == []


DETACHES = """
from netkit import Namespace
with Namespace("red", persistent={persistent}) as red:
    red.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], check=True)
    red.detach()
"""


@capable
@both
def test_detached_it_outlives_the_process_and_is_adopted(persistent: bool) -> None:
    output(sys.executable, "-c", DETACHES.format(persistent=persistent))
    assert [item["ifname"] for item in json_links("red")] == ["lo", "v1", "v0"]
    with Namespace.open("red") as red:
        assert "v0" in red.links
        assert red.adopt() is red
        assert red.path == "/run/netns/red"
        with pytest.raises(StateError):
            red.adopt()
        red.delete()
    assert registered() == mounts() == []


def json_links(name: str) -> list[dict[str, str]]:
    with Namespace.open(name) as ns:
        return ip(ns, "link", "show")


@capable
def test_killed_together_with_its_guard_it_stays_and_is_adopted() -> None:
    code = (
        "import os, select, signal\n"
        "from netkit import Namespace\n"
        "from netkit._system.journal import journal\n"
        "Namespace('red', persistent=True).create()\n"
        "guard = os.pidfd_open(journal.guard_pid)\n"
        "signal.pidfd_send_signal(guard, signal.SIGKILL)\n"
        "select.select([guard], [], [])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    Namespace.open("red").adopt().delete()
    assert registered() == mounts() == []


@capable
def test_what_ip_netns_add_made_can_be_adopted() -> None:
    output("ip", "netns", "add", "red")
    with Namespace.open("red").adopt() as red:
        assert red.exists
    assert registered() == mounts() == []


@capable
def test_an_adopted_one_can_be_detached_again() -> None:
    output("ip", "netns", "add", "red")
    Namespace.open("red").adopt().detach().close()
    output("ip", "netns", "exec", "red", "true")
    output("ip", "netns", "delete", "red")


@capable
def test_only_a_mount_of_just_this_one_is_adopted() -> None:
    with Namespace("red"):
        with Namespace.open("red") as again, pytest.raises(StateError, match="owned in this program"):
            again.adopt()
        assert registered() == ["red"]
    output("ip", "netns", "add", "red")
    with Namespace.open("red") as old:
        output("ip", "netns", "delete", "red")
        output("ip", "netns", "add", "red")
        with pytest.raises(NotFoundError, match="'red'"):
            old.adopt()
    output("ip", "netns", "exec", "red", "true")
    output("ip", "netns", "delete", "red")


@capable
@both
def test_detach_twice_or_after_the_end(persistent: bool) -> None:
    ns = Namespace("red", persistent=persistent).create()
    ns.detach()
    with pytest.raises(StateError, match="borrowed"):
        ns.detach()
    ns.adopt().delete()
    with pytest.raises(StateError, match="deleted"):
        ns.detach()
    assert registered() == []
