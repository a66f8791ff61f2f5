"""Tables without lines, as kubectl has them: easy to read, easy to cut, no blanks at line ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import render
from rich.segment import Segment
from rich.table import Column, Table

__all__ = ["FactTable", "PlainTable", "plain_table"]

_NUMBERS = {"SIZE", "FILES", "HOSTS", "AGE", "TOOK", "SECONDS", "PER HOST"}
_FREE_TEXTS = {"SERVICES", "REASON", "WHY"}  # hold what a rule or a service says
_PADDING = 3
_TEXT_WIDTH_MIN = 20  # a word or two a line


def plain_table(*columns: str, wraps: Iterable[str] = ()) -> PlainTable:
    """A table with these columns.  Free text wraps when there is little room, and so does what
    stands in the columns *wraps*; what stands in any other column is never shortened: a name
    that is cut is no name.
    """
    table = PlainTable(box=None, pad_edge=False, padding=(0, _PADDING, 0, 0), header_style="bold")
    for name in columns:
        justify = "right" if name in _NUMBERS else "left"
        is_text = name in _FREE_TEXTS.union(wraps)
        table.add_column(name, justify=justify, no_wrap=not is_text, overflow="fold")
    return table


class PlainTable(Table):
    """Takes the width that its names need; in a narrower terminal its lines go on below."""

    @property
    def width_min(self) -> int:
        """The least width in which no name is cut."""
        widths = [_width(c) if c.no_wrap else _TEXT_WIDTH_MIN for c in self.columns]
        return sum(widths) + _PADDING * (len(widths) - 1)

    @property
    def width_max(self) -> int:
        """The width in which nothing wraps."""
        return sum(_width(c) for c in self.columns) + _PADDING * (len(self.columns) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for column in self.columns:
            column.min_width = _width(column) if column.no_wrap else _TEXT_WIDTH_MIN
        # pad_edge is off, but rich counts the padding of the last column nevertheless
        wide = options.update_width(max(options.max_width, self.width_min + _PADDING))
        yield from _without_trailing_blanks(super().__rich_console__(console, wide))


class FactTable(Table):
    """A name and a value a line; a long value goes on below, under its beginning."""

    def __init__(self) -> None:
        super().__init__(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _without_trailing_blanks(super().__rich_console__(console, options))


def _without_trailing_blanks(result: RenderResult) -> Iterator[Segment]:
    """What tables draw, line by line; they pad the last column to its width."""
    segments = [part for part in result if isinstance(part, Segment)]
    for line in Segment.split_lines(segments):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            last = line.pop()
            line.append(Segment(last.text.rstrip(), last.style))
        yield from line
        yield Segment.line()


def _width(column: Column) -> int:
    cells = (column.header, *column.cells)
    return max(cell_len(line) for cell in cells for line in _plain(cell).split("\n"))


def _plain(cell: RenderableType) -> str:
    return render(cell).plain if isinstance(cell, str) else str(cell)
