"""A terminal that is told nothing but text: what hosts and people wrote does not command it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from p2pdeploy.printable import printable

__all__ = ["PrintableConsole"]


class PrintableConsole(Console):
    """Styles and moves of the cursor are rich's own; everything else comes printable."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, besides="\n"), segment.style)
