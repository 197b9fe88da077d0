"""A kernel without IPv6 (``ipv6.disable=1`` on its command line): it has no policy rules of it to be read."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from netkit import KernelError, Namespace
from netkit.testing import FakeKernel


def rules(host: Namespace) -> object:
    return [*host.rules]


def snapshot(host: Namespace) -> object:
    return host.snapshot(nat=False).rules


@pytest.mark.parametrize(("read", "nth"), [(rules, 2), (snapshot, 5)])
def test_what_is_there_is_read(read: Callable[[Namespace], object], nth: int) -> None:
    """IPv6's rules are the nth that is asked for."""
    with FakeKernel() as kernel, kernel.namespace() as host:
        whole = read(host)
        kernel.refuse(nth, errno.EAFNOSUPPORT)
        four = read(host)
    assert isinstance(whole, (list, tuple))
    assert isinstance(four, (list, tuple))
    assert [*four] == [each for each in whole if each.family == 4] != [*whole]


@pytest.mark.parametrize(("nth", "number"), [(1, errno.EAFNOSUPPORT), (2, errno.ENOMEM)])
def test_any_other_refusal_is_told(nth: int, number: int) -> None:
    with FakeKernel() as kernel, kernel.namespace() as host:
        kernel.refuse(nth, number)
        with pytest.raises(KernelError) as caught:
            rules(host)
    assert caught.value.errno == number
