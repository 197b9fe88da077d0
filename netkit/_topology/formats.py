"""Plans as data: from and to a dict, from JSON, TOML and YAML."""

from __future__ import annotations

import os

from netkit._spec.value import shown_path
from netkit._topology.plan import Plan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self


class Formats(Plan):
    """The ways in and out. The keys are those of the methods' keywords."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The plan that a dict of plain values describes.

        ``namespaces`` and ``bridges`` are tables by name with the keywords of `add_namespace` and
        `add_bridge`, ``links`` is a list whose ``ends`` are names, ``"box:eth0"``, or tables with
        ``namespace`` or ``bridge`` and the keywords of one end. A namespace has ``sysctls``, ``routes``
        (with ``dst``) and ``nat`` (with ``kind``). ``subnet`` and ``routing`` are those of `Topology`.

        Raises SpecError that begins with the place of what is wrong: ``links[3].ends[1].address: ...``.

        Twin: none.

        Examples:
            >>> from netkit import Topology
            >>> Topology.from_dict({
            ...     "namespaces": {"box": {}, "gate": {"forwarding": True}},
            ...     "links": [{"ends": ["box", {"namespace": "gate", "name": "lan0"}], "mtu": 1400}],
            ... })
            <Topology of 2 namespaces, 0 bridges, 1 link>
        """
        from netkit._topology.layout import Layout
        from netkit._topology.reading import read, read_head

        top, subnet, routing = read_head(data)
        plan = cls(subnet=subnet, routing=routing)
        read(plan, top)
        Layout(plan)  # what is wrong with it as a whole is said now
        return plan

    @classmethod
    def from_json(cls, content: str | bytes) -> Self:
        """As `from_dict`, of a JSON text. Twin: none."""
        from netkit._topology.texts import from_json

        return cls.from_dict(from_json(content))

    @classmethod
    def from_toml(cls, content: str | bytes) -> Self:
        """As `from_dict`, of a TOML text. Twin: none."""
        from netkit._topology.texts import from_toml

        return cls.from_dict(from_toml(content))

    @classmethod
    def from_yaml(cls, content: str | bytes) -> Self:
        """As `from_dict`, of a YAML text; needs the package PyYAML. Twin: none."""
        from netkit._topology.texts import from_yaml

        return cls.from_dict(from_yaml(content))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The plan in a file, whose name ends in ``.json``, ``.toml``, ``.yaml`` or ``.yml``.

        Raises SpecError as `from_dict` does, and OSError for a file that cannot be read.

        Twin: ``netkit up FILE``.
        """
        from netkit._topology.texts import FORMATS

        suffix = os.path.splitext(path)[1].lower()
        if suffix not in FORMATS:
            raise SpecError(f"{shown_path(os.fspath(path))}: its name ends in none of {', '.join(FORMATS)}")
        with open(path, "rb") as file:
            content = file.read()
        try:
            return cls.from_dict(FORMATS[suffix](content))
        except SpecError as problem:
            raise SpecError(f"{shown_path(os.fspath(path))}: {problem}") from None

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, for ``json.dumps`` and the like; defaults are left out.

        ``Topology.from_dict(topology.to_dict()) == topology``.

        Twin: none.

        Examples:
            >>> from netkit import Topology
            >>> Topology.line(2, subnet="10.0.0.0/30").to_dict()["links"]
            [{'ends': ['box1', 'box2']}]
        """
        from netkit._topology.writing import write

        return write(self)
