"""Everything here is seen by an ordinary user; the session's root only starts him."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.harness.ordinary import SOMEBODY, Ordinary, cannot_be_one, ordinary_user


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, and skip them where there is no other user to become."""
    reason = cannot_be_one()
    for item in items:
        if item.path.parent.name == "rootless":
            item.add_marker(pytest.mark.rootless)
            item.add_marker(pytest.mark.kernel)
            if reason and not {"nobody", "somebody"}.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def nobody() -> Generator[Ordinary]:
    """An ordinary user with a copy of netkit."""
    with ordinary_user() as user:
        yield user


@pytest.fixture(scope="module")
def somebody() -> Generator[Ordinary]:
    """Another, for what the kernel counts by user: tests beside this one run as nobody, too."""
    with ordinary_user(SOMEBODY) as user:
        yield user
