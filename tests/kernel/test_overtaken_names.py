"""A namespace's name that goes while somebody opens it, or is made anew."""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Thread

import pytest

import netkit
from netkit import Namespace, NotFoundError
from netkit._system import namespace_files, nsfs, registration
from tests.harness.killed import doomed, said
from tests.harness.overtaken import before
from tests.kernel.test_gc import outside

__all__ = ["outside"]  # the fixture

pytestmark = pytest.mark.capable


GOING: dict[str, tuple[str, str]] = {  # what makes a name; what takes it away, or half of it
    "a symlink whose maker dies": ("Namespace('two')", "kill"),
    "a symlink that its maker removes": ("Namespace('two')", "rm /run/netns/two"),
    "a mount that is half removed": ("Namespace('two', persistent=True)", "umount -l /run/netns/two"),
    "a mount that is removed": ("Namespace('two', persistent=True)", "ip netns del two"),
}


@pytest.mark.parametrize("when", ["_open", "_is_regular"])
@pytest.mark.parametrize("what", GOING)
def test_a_name_that_goes_while_it_is_opened_is_not_found(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    program, how = GOING[what]
    with doomed(f"own({program})") as process:
        before(monkeypatch, namespace_files, when, lambda: process.kill() if how == "kill" else said(how))
        words = "stale" if "half" in what else "cannot open namespace '?two"
        with pytest.raises(NotFoundError, match=words):
            Namespace.open("two")
        process.kill()
    said("umount -l /run/netns/two; rm -f /run/netns/two")


def test_a_name_whose_maker_dies_while_it_is_opened_is_not_followed(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its pid and descriptor had come back in another process, between the look and the opening."""
    with Namespace() as other, doomed("own(Namespace('two'))") as process:
        target, alive = os.readlink("/run/netns/two"), f"/proc/{os.getpid()}/fd/{other.fileno()}"

        def replaced() -> None:
            process.kill_guard()
            process.kill()
            said(f"ln -sfn {alive} /run/netns/two")
            process.journal.write_text(process.journal.read_text().replace(target, alive))

        before(monkeypatch, namespace_files, "_is_stale", replaced)
        with pytest.raises(NotFoundError, match="stale"):
            Namespace.open("two")
        assert [each.what for each in netkit.gc()] == ["namespace 'two'"]


def test_a_name_that_is_made_anew_while_it_is_opened_is_the_new_one(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Namespace("one") as one, Namespace("two") as two:
        swap = "mv -T /run/netns/one /run/netns/three; mv -T /run/netns/two /run/netns/one"
        real = namespace_files.open_name_or_path
        opened: list[int] = []

        def late(name: str) -> int:
            opened.append(real(name))
            if len(opened) == 1:
                said(swap)
            return opened[-1]

        monkeypatch.setattr(nsfs, "open_name_or_path", late)
        with Namespace.open("one") as found:
            assert found._same_as(two)
        monkeypatch.undo()
        said("mv -T /run/netns/one /run/netns/two; mv -T /run/netns/three /run/netns/one")
        assert one.exists


def test_a_name_that_others_make_while_a_mount_goes_is_theirs(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unmounted, it is stale: whoever repairs that would have found his own name removed."""
    made: list[registration.Registration] = []
    with Namespace() as other, Namespace("two", persistent=True).create() as two:
        maker = Thread(target=lambda: made.append(registration.register_symlink("two", other.fileno())))
        unmount = registration.umount2

        def half(path: str, flags: int) -> None:
            unmount(path, flags)
            maker.start()
            waiting = re.compile(rf"-> FLOCK .* {os.getpid()} ")
            while not (os.path.islink(path) or waiting.search(Path("/proc/locks").read_text())):
                continue

        monkeypatch.setattr(registration, "umount2", half)
        two.delete()
        maker.join()
        assert made[0].holds
        made[0].remove()
