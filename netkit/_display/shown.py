"""What a notebook is given of an object: never an exception, whatever has become of it."""

from __future__ import annotations

from typing import Any

from netkit._display.page import in_style, rendered
from netkit._display.picture import Picture
from netkit._display.svg import escape
from netkit._display.tables import tables_of


def picture_of(shown: Any) -> Picture:
    """The picture of an object that has one."""
    from netkit._display import sources

    makers = {
        "Namespace": lambda: sources.of_namespaces([shown], repr(shown).strip("<>")),
        "Scope": lambda: sources.of_scope(shown),
        "Network": lambda: sources.of_network(shown),
        "Topology": lambda: sources.of_plan(shown),
        "Snapshot": lambda: sources.of_snapshot(shown),
    }
    for kind in type(shown).__mro__:
        if kind.__name__ in makers and kind.__module__.startswith("netkit."):
            return makers[kind.__name__]()
    raise TypeError(f"{shown!r} has no picture")


def bundle(shown: object) -> dict[str, str]:
    """By MIME type; of what cannot be read, why."""
    try:
        found = picture_of(shown)._repr_mimebundle_()
    except Exception as problem:
        return {"text/plain": f"{shown!r}\n{problem}", "text/html": _excused(shown, problem)}
    return found


def html(shown: object) -> str:
    """Tables; of what cannot be read, why."""
    try:
        return rendered(tables_of(shown))
    except Exception as problem:
        return _excused(shown, problem)


def _excused(shown: object, problem: Exception) -> str:
    return in_style(f"<p><code>{escape(repr(shown))}</code></p><p>{escape(str(problem))}</p>")
