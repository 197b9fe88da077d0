"""Lines on a terminal: at most 100 columns, readable without colours, coloured only on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable

WIDTH = 100
_STYLES = {"title": "1", "code": "36", "twin": "2", "good": "32", "bad": "1;31"}


class Screen:
    """Where the demo and the doctor write."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and _terminal_knows_colours()

    def line(self, text: str = "", style: str | None = None, indent: int = 0) -> None:
        """One line, cut into several where it is longer than the screen is wide."""
        if self._silent:
            return
        for part in _fitted(text, WIDTH - indent):
            print(" " * indent + self._styled(part, style) if part else "", flush=True)

    def lines(self, texts: Iterable[str], style: str | None = None, indent: int = 0) -> None:
        """Several lines."""
        for text in texts:
            self.line(text, style, indent)

    def heading(self, text: str) -> None:
        """A title with a rule under it, after an empty line."""
        self.line()
        self.line(text, "title")
        self.line("-" * len(text), "title")

    def part(self, name: str, texts: Iterable[str], style: str | None = None) -> None:
        """A name, and under it lines."""
        self.line(name, indent=2)
        self.lines(texts, style, indent=6)

    def _styled(self, text: str, style: str | None) -> str:
        if style is None or not self._coloured:
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def _terminal_knows_colours() -> bool:
    return os.environ.get("TERM", "dumb") != "dumb"


def _fitted(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text.rstrip()]
    own = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(), width, initial_indent=own, subsequent_indent=own + "    ", break_on_hyphens=False
    )
