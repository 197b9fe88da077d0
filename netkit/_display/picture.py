"""Picture: a network to look at, as text, SVG, HTML, Mermaid or dot."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from netkit._display.model import Box, Device, End, Wire

if TYPE_CHECKING:
    from netkit._namespace import Namespace


class Picture:
    """A network as it was when it was read, to be looked at. Made by ``picture()`` of what it shows.

    `Namespace`, `Scope`, `Topology`, `Network` and `Snapshot` have that method; ``Picture.of`` draws any
    namespaces together. ``print()`` shows a tree; a notebook draws it. Nothing of it needs JavaScript or
    another program.

    Examples:
        >>> from netkit import Topology
        >>> print(Topology.line(2, subnet="10.0.0.0/30").picture())
        box1
        └─ eth0 planned 10.0.0.1/30 ── box2:eth0
        box2
        └─ eth0 planned 10.0.0.2/30 ── box1:eth0
    """

    def __init__(self, boxes: Iterable[Box], wires: Iterable[Wire], title: str = "", note: str = "") -> None:
        self._boxes = tuple(boxes)
        self._wires = tuple(wires)
        self._title = title
        self._note = note

    @classmethod
    def of(cls, *namespaces: Namespace) -> Picture:
        """Namespaces beside each other, with the veths between them; needs what reading them needs.

        Twin: ``ip -br address`` in each namespace, ``bridge link``.

        Examples:
            >>> from netkit import Namespace, Picture, VethPair
            >>> with Namespace("red") as red, Namespace("blue") as blue:
            ...     with VethPair(red, blue, name="eth0", peer_name="eth0", address="10.0.0.1/24"):
            ...         print(Picture.of(red, blue))
            red
            └─ eth0 up   10.0.0.1/24 ── blue:eth0
            blue
            └─ eth0 up   ── red:eth0
        """
        from netkit._display.sources import of_namespaces

        return of_namespaces(namespaces)

    # -- what is drawn --------------------------------------------------------------

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The namespaces."""
        return self._boxes

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The veth pairs whose ends are both drawn."""
        return self._wires

    @property
    def title(self) -> str:
        """What it is of."""
        return self._title

    @property
    def note(self) -> str:
        """What has to be said of it; empty if nothing."""
        return self._note

    def box(self, key: str) -> Box:
        """The box of this key. Twin: none."""
        return self._by_key[key]

    def far_end(self, box: Box, device: Device) -> str | None:
        """Where a device's wire leads, as ``namespace:device``. Twin: ``ip -d link show``."""
        end = self._far.get(End(box.key, device.name))
        return device.far if end is None else f"{self.box(end.box).name}:{end.device}"

    @cached_property
    def _by_key(self) -> dict[str, Box]:
        return {each.key: each for each in self._boxes}

    @cached_property
    def _far(self) -> dict[End, End]:
        found: dict[End, End] = {}
        for wire in self._wires:
            found[wire.near], found[wire.far] = wire.far, wire.near
        return found

    # -- drawing it -----------------------------------------------------------------

    def __str__(self) -> str:
        from netkit._display.tree import draw

        return draw(self)

    def __repr__(self) -> str:
        counts = f"{len(self._boxes)} namespaces, {len(self._wires)} veths"
        return f"<Picture of {self._title or 'a network'}: {counts}>"

    def to_svg(self) -> str:
        """An SVG, without scripts and without anything from elsewhere, for light and dark themes and print.

        Of more than 60 namespaces, those that are alike are drawn as one.

        Twin: none.
        """
        from netkit._display.svg import draw

        return draw(self)

    def to_html(self) -> str:
        """A page of its own: the SVG, and tables of what is in each namespace.

        Twin: ``netkit show --html FILE``.
        """
        from netkit._display.page import whole_page

        return whole_page(self)

    def to_mermaid(self) -> str:
        """A flowchart for Mermaid, as in a ```` ```mermaid ```` block of Markdown. Twin: none."""
        from netkit._display.mermaid import draw

        return draw(self)

    def to_dot(self) -> str:
        """A graph for Graphviz: ``dot -Tsvg``. Twin: none."""
        from netkit._display.dot import draw

        return draw(self)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for ``json.dumps``. Twin: ``netkit show --json``."""
        from netkit._display.plain import plain

        return plain(self)

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _repr_html_(self) -> str:
        from netkit._display.page import part

        return part(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_(), "image/svg+xml": self.to_svg()}
