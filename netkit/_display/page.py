"""Pictures and tables as HTML: part of a notebook, or a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkit._display.palette import DARK, LIGHT
from netkit._display.svg import draw, escape
from netkit._display.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._display.model import Box
    from netkit._display.picture import Picture

# Colours are those of what is around it: a notebook's theme, or the page's below.
_STYLE = (
    ".netkit-html table{border-collapse:collapse;margin:.4em 0 1em;font:13px/1.5 ui-monospace,Menlo,"
    "'DejaVu Sans Mono',Consolas,monospace}"
    ".netkit-html caption{text-align:left;font-weight:700;padding:.2em 0}"
    ".netkit-html th,.netkit-html td{text-align:left;vertical-align:top;padding:.1em .8em .1em 0;"
    "border-bottom:1px solid #8888;white-space:pre-line;color:inherit;background:transparent}"
    ".netkit-html p{white-space:pre-line;margin:-.6em 0 1.2em;font:13px/1.5 ui-monospace,Menlo,"
    "'DejaVu Sans Mono',Consolas,monospace}.netkit-html summary{cursor:pointer}"
)
_LIGHT, _DARK = [f"background:{each['paper']};color:{each['text']}" for each in (LIGHT, DARK)]
_PAGE = (
    f"body{{margin:1.5em;{_LIGHT};font:15px/1.5 system-ui,sans-serif}}"
    f"@media(prefers-color-scheme:dark){{body{{{_DARK}}}}}"
    f"@media print{{body{{{_LIGHT}}}}}"
)


def part(picture: Picture) -> str:
    """The drawing, and folded below it the tables."""
    count = len(picture.boxes)
    summary = f"{count} namespace{'' if count == 1 else 's'} as tables"
    return in_style(f"{draw(picture)}<details><summary>{summary}</summary>{_tables(picture)}</details>")


def whole_page(picture: Picture) -> str:
    """A page that needs nothing else."""
    title = escape(picture.title or "a network")
    body = in_style(f"<h1>{title}</h1>{draw(picture)}{_tables(picture)}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{_PAGE}</style></head><body>{body}</body></html>\n"
    )


def in_style(content: str) -> str:
    """With the style of tables."""
    return f'<div class="netkit-html"><style>{_STYLE}</style>{content}</div>'


def rendered(tables: Iterable[Table]) -> str:
    """Tables in their style."""
    return in_style("".join([table_html(each) for each in tables]))


def table_html(table: Table) -> str:
    """One ``<table>``."""
    head = "".join([f"<th>{escape(each)}</th>" for each in table.columns])
    rows = "".join(
        [f"<tr>{''.join([f'<td>{escape(cell)}</td>' for cell in row])}</tr>" for row in table.rows]
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _tables(picture: Picture) -> str:
    return "".join([table_html(_of_box(box, picture)) for box in picture.boxes])


def _of_box(box: Box, picture: Picture) -> Table:
    rows = [
        (each.name, each.kind or "", each.state, "\n".join(each.addresses), each.master or "",
         picture.far_end(box, each) or "")
        for each in box.in_order()
    ]  # fmt: skip
    caption = f"{box.name} ({', '.join(box.marks)})" if box.marks else box.name
    return Table(
        caption, ("link", "kind", "state", "addresses", "port of", "leads to"), rows, "\n".join(box.said)
    )
