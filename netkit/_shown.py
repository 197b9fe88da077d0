"""What notebooks and people see of an object; all that draws is loaded when somebody looks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._display.picture import Picture


class Shown:
    """Shown as tables."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from netkit._display.shown import html

        return html(self)


class Drawn:
    """Shown as a picture of a network, with what is in it as tables."""

    __slots__ = ()

    def picture(self) -> Picture:
        """How it looks now: ``print()`` shows a tree, a notebook draws it, and see `Picture`.

        A namespace that is gone, or cannot be read, is a box that says so. Raises SpecError for a Topology
        that cannot be built. Twin: ``ip -br address`` and ``ip route`` in each namespace, ``bridge link``.

        Examples:
            >>> from netkit import Topology
            >>> print(Topology.star(1, subnet="10.0.0.0/24").picture())
            switch
            └─ lan  planned bridge 10.0.0.1/24
               └─ box1 planned ── box1:eth0
            box1
            ├─ eth0 planned 10.0.0.2/24 ── switch:box1
            └─ default via 10.0.0.1 dev eth0
        """
        from netkit._display.shown import picture_of

        return picture_of(self)

    def to_svg(self) -> str:
        """Its picture as an SVG, see `Picture.to_svg`. Raises what `picture` does. Twin: none."""
        return self.picture().to_svg()

    def to_mermaid(self) -> str:
        """Its picture as a flowchart for Mermaid, see `Picture.to_mermaid`.

        Raises what `picture` does. Twin: none. Source: Mermaid's page on flowcharts.
        """
        return self.picture().to_mermaid()

    def to_dot(self) -> str:
        """Its picture as a graph for Graphviz. Raises what `picture` does. Twin: none. Source: dot(1).

        Examples:
            >>> from netkit import Topology
            >>> print(Topology.line(2).to_dot().splitlines()[0])
            graph network {
        """
        return self.picture().to_dot()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from netkit._display.shown import bundle

        return bundle(self)

    def _repr_html_(self) -> str:
        from netkit._display.shown import bundle

        return bundle(self)["text/html"]

    def _repr_svg_(self) -> str | None:
        from netkit._display.shown import bundle

        return bundle(self).get("image/svg+xml")
