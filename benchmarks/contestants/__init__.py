"""Who takes part. Each builds the same network by its own means, in its own process, timing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

NAMES = ("ns1", "ns2", "host", "box", "outside")


class Demo(Protocol):
    """The demo's network as one contestant makes it; build and teardown alternate."""

    def build(self) -> None:
        """From nothing to everything configured."""

    def teardown(self) -> None:
        """Back to nothing."""

    def namespaces(self) -> Mapping[str, str]:
        """Paths that `nsenter --net=` takes, while it stands."""


class Reader(Protocol):
    """Reads links from one namespace."""

    def open(self, name: str) -> None:
        """Get ready to read from the namespace of this name."""

    def all(self) -> tuple[int, int]:
        """Read every link with its addresses: how many of each."""

    def one(self, name: str) -> int:
        """Read one link by name: its index."""


class Operator(Protocol):
    """Single operations in one namespace that is opened before."""

    def open(self, name: str, index: int) -> None:
        """Get ready to work on the device of this index in the namespace of this name."""

    def add_address(self, address: str) -> None:
        """Add one address to the device."""

    def remove_address(self, address: str) -> None:
        """Untimed."""

    def route(self, network: str) -> None:
        """Add a route by the device, and remove it."""


class Publisher(Protocol):
    """Publishes ports of one namespace."""

    def open(self, name: str) -> None:
        """Get ready to work in the namespace of this name."""

    def prepare(self, count: int) -> Any:
        """The mappings, as `publish` takes them: untimed."""

    def publish(self, mappings: Any) -> None:
        """All of them, from nothing."""

    def list(self) -> int:
        """Read them all: how many there are."""

    def add(self, number: int) -> None:
        """One more."""

    def remove(self, number: int) -> None:
        """Untimed."""

    def unpublish(self) -> None:
        """Back to nothing."""


class Crowd(Protocol):
    """Makes as many namespaces as it can."""

    def limit(self, what: str, value: int) -> None:
        """Limit this process."""

    def many(self, count: int) -> dict[str, object]:
        """Make so many at once, and drop them."""


class Runner(Protocol):
    """Runs `/bin/true`."""

    def open(self, name: str) -> None:
        """Get ready to run in the namespace of this name."""

    def run(self) -> None:
        """Run it and wait for it."""


class Star(Protocol):
    """Containers around a bridge in a hub namespace; build and teardown alternate."""

    survives: bool  # whether the hub outlives the containers, and is there before them, untimed

    def hub(self) -> str:
        """The path of the hub."""

    def build(self, size: int) -> None:
        """From a hub with nothing but `lo` to `size` containers that reach each other."""

    def teardown(self) -> None:
        """As a user of it would: whoever returns early is charged until the hub's names are free."""

    def place(self, container: int) -> str:
        """The path of a container's namespace, while it stands."""
