"""What this process has published in a namespace, in step with the kernel: what both backends keep of it."""

from __future__ import annotations

from collections import Counter
from errno import EEXIST
from threading import Lock

from netkit.errors import ExistsError, KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from netkit._nat.publish_part import Network, Part, Place
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import Entry, PublishSpec


class Keys:
    """Which ports this process has published in a namespace, by whatever backend."""

    def __init__(self) -> None:
        self.parts: dict[Place, dict[bytes, Part]] = {}

    def close(self) -> None:
        """There is nothing to close."""


class Books:
    """The mappings of this process in one namespace by one backend; threads may share it.

    ``where`` is our own place (a table's name, or what the names of chains end with), ``plain`` that of what
    is detached.
    """

    name = ""
    plain = ""

    def __init__(self, runtime: Runtime, where: str) -> None:
        self.where = where
        self._runtime = runtime
        self._lock = Lock()
        self._keys = runtime.once("published keys", Keys).parts
        self._parts: dict[Part, None] = {}
        self._families: Counter[int] = Counter()
        self._networks: Counter[Network] = Counter()
        self._devices: Counter[str] = Counter()
        self._stale = False

    def close(self) -> None:
        """What is there goes with the runtime's sockets and helpers, or stays."""

    # -- what a backend does ------------------------------------------------------

    def creation(self, part: Part) -> Any:
        """What is to be asked of the kernel to add it to our own place."""
        raise NotImplementedError

    def deletion(self, part: Part) -> Any:
        """What is to be asked to take it out again."""
        raise NotImplementedError

    def _ask(self, change: Any) -> None:
        """Ask for it: all, or a KernelError and nothing; whatever else comes leaves the outcome unknown."""
        raise NotImplementedError

    def _ask_anew(self, parts: list[Part]) -> None:
        """Make our own place what it is to be, from the ground up; it is empty in the books."""
        raise NotImplementedError

    def detach(self, part: Part) -> None:
        """Move it to the plain place. ExistsError if another process has detached one of its ports."""
        raise NotImplementedError

    def adopt(self, part: Part) -> None:
        """Move it from the plain place to ours; NotFoundError if a port is not there, or leads elsewhere."""
        raise NotImplementedError

    def mend(self, part: Part) -> None:
        """Put back what is missing of it in the plain place; ExistsError if a port leads elsewhere now."""
        raise NotImplementedError

    def guarded_devices(self) -> set[str]:
        """The devices that have route_localnet for what is detached."""
        raise NotImplementedError

    def counters(self, part: Part, where: str) -> tuple[int, int]:
        """Packets and bytes; NotFoundError if a port is gone, or leads elsewhere now."""
        raise NotImplementedError

    def exists(self, part: Part, where: str) -> bool:
        """Whether all is there."""
        raise NotImplementedError

    # -- add and remove -----------------------------------------------------------

    def add(self, part: Part) -> None:
        """Add all of it in one transaction, or nothing. ExistsError for a port that is published already."""
        with self._lock:
            self._settle()
            self.check_free(part)
            self._add(part)
            self.learn(part)

    def _add(self, part: Part) -> None:
        """Add it to our own place; ExistsError for a port that is detached, and so leads elsewhere."""
        raise NotImplementedError

    def _held_detached(self, proto: str, port: int, target: str) -> ExistsError:
        hint = f"It is detached here, and leads to {target}: adopt() of a mapping that says so takes it over"
        return ExistsError(f"publish {proto} port {port}", EEXIST, netns=self._runtime.label, hint=hint)

    def remove(self, part: Part) -> None:
        """Remove it; gone already is success."""
        with self._lock:
            self._settle()
            if part in self._parts:
                change = self.deletion(part)
                self.unlearn(part)  # first: after an interrupt, _settle makes the kernel follow
                try:
                    self._change(change)
                except NotFoundError:
                    self._stale = True
                    self._settle()

    def check_free(self, part: Part) -> None:
        """ExistsError if a port of it is published by this process, or twice in it."""
        if part.twice is not None:
            raise self._taken(part.twice, part)
        for place, content in part.maps.items():
            known = self._keys.get(place, {})
            for key in known.keys() & content.keys():
                raise self._taken(part.entry_of(place, key), known[key])

    def _taken(self, entry: Entry, by: Part) -> ExistsError:
        operation = f"publish {entry.proto_name} port {entry.port}"
        hint = f"This program has published it: {by.words}"
        return ExistsError(operation, EEXIST, netns=self._runtime.label, hint=hint)

    def _detached_already(self, part: Part) -> ExistsError:
        hint = "Another process has detached one of these ports: this one is still ours"
        return ExistsError(f"detach {part.words}", EEXIST, netns=self._runtime.label, hint=hint)

    # -- the books ----------------------------------------------------------------

    def learn(self, part: Part) -> None:
        """It is there."""
        self._parts[part] = None
        for place, content in part.maps.items():
            self._keys.setdefault(place, {}).update(dict.fromkeys(content, part))
        self._families.update(part.sizes())
        self._networks.update(part.networks)
        self._devices.update(part.devices)

    def unlearn(self, part: Part) -> None:
        """It is not there any more."""
        self._parts.pop(part, None)
        for place, content in part.maps.items():
            known = self._keys[place]
            for key in content:
                del known[key]
        self._families -= Counter(part.sizes())
        self._networks -= Counter(part.networks)
        self._devices -= Counter(part.devices)

    def _left(self, part: Part) -> Counter[int]:
        """How many entries of each family stay without it."""
        return self._families - Counter(part.sizes())

    def specs(self) -> list[PublishSpec]:
        """What this process has published here."""
        with self._lock:
            return [spec for part in self._parts for spec in part.specs.all()]

    # -- the change, and what follows one with an unknown outcome ------------------------

    def _change(self, change: Any) -> None:
        try:
            self._ask(change)
        except KernelError:
            raise  # refused as a whole: nothing changed
        except BaseException:
            self._stale = True
            raise

    def _settle(self) -> None:
        """Whatever is there, make it what it should be; counters begin anew."""
        if not self._stale:
            return
        parts = list(self._parts)
        for part in parts:
            self.unlearn(part)
        try:
            self._ask_anew(parts)
        finally:
            for part in parts:
                if part not in self._parts:
                    self.learn(part)
        self._stale = False

    def restore(self) -> None:
        """Make it what it should be, for somebody else has changed it."""
        with self._lock:
            self._stale = True
            self._settle()

    def _learning(self, parts: list[Part]) -> Iterator[Any]:
        """What adds them one after the other."""
        for part in parts:
            yield self.creation(part)
            self.learn(part)
