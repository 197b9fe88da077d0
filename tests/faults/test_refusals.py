"""The n-th netlink request of the real kernel is refused, cut or lost, for every n.

An exception of the right class comes out, nothing is left, the same object works again. The work is done by
programs (tests/harness/refusals.py), several at a time, for most of it is waiting for the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.harness.programs import program
from tests.harness.refusals import BLOCKS, FAULTS, MAKERS
from tests.harness.tools import needs

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.capable, needs("ip", "nft")]


def test_F02_a_refusal_at_every_request(count: Callable[..., None]) -> None:
    names = [*BLOCKS, *MAKERS]  # the longest first
    with ThreadPoolExecutor(5) as pool:
        each = pool.map(partial(program, "refusals"), names)
        found = dict(zip(names, each, strict=True))
    wrong = {name: result["wrong"] for name, result in found.items() if result["wrong"]}
    requests, raised = (sum(result[what] for result in found.values()) for what in ("requests", "raised"))
    count("Every refusal", faults=len(FAULTS), requests=requests, raised=raised, differences=len(wrong))
    assert wrong == {}
    assert all(result["raised"] >= len(FAULTS) for result in found.values())
    assert raised > requests / 2
