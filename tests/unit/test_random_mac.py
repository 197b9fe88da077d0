"""Link-layer addresses of our own: of the right kind, and never those of a parent or child process."""

from __future__ import annotations

import os
import re

from netkit._end import random_mac
from tests.harness.calls import in_child


def test_they_are_local_and_unicast_and_all_different() -> None:
    made = [random_mac() for _ in range(500)]
    assert len(set(made)) == 500
    for mac in made:
        assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac)
        assert int(mac[:2], 16) & 3 == 2


def test_a_child_does_not_make_its_parents() -> None:
    random_mac()  # from here on some are held ready
    reader, writer = os.pipe()
    in_child(lambda: os.write(writer, " ".join(random_mac() for _ in range(100)).encode()))
    os.close(writer)
    with open(reader) as pipe:
        theirs = pipe.read().split()
    assert len(theirs) == 100
    assert not set(theirs) & {random_mac() for _ in range(100)}
