"""A table without lines, as kubectl has it: easy to read, easy to cut."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

__all__ = ["PlainTable", "plain_table"]

_NUMBERS = {"SIZE", "FILES", "HOSTS", "AGE", "SECONDS", "PER HOST"}
_FREE_TEXTS = {"SERVICES", "REASON", "WAITS FOR"}  # hold what a rule or a service says
_PADDING = 3
_TEXT_WIDTH_MIN = 20  # a word or two a line


def plain_table(*columns: str) -> PlainTable:
    """A table with these columns.  Free text wraps when there is little room; what stands in any
    other column is never shortened: a name that is cut is no name.
    """
    table = PlainTable(box=None, pad_edge=False, padding=(0, _PADDING, 0, 0), header_style="bold")
    for name in columns:
        justify = "right" if name in _NUMBERS else "left"
        is_text = name in _FREE_TEXTS
        table.add_column(name, justify=justify, no_wrap=not is_text, overflow="fold")
    return table


class PlainTable(Table):
    """Takes the width that its names need; in a narrower terminal its lines go on below."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = 0
        for column in self.columns:
            column.min_width = _width(column) if column.no_wrap else _TEXT_WIDTH_MIN
            needed += column.min_width + _PADDING
        wide = options.update_width(max(options.max_width, needed))
        yield from super().__rich_console__(console, wide)


def _width(column: Column) -> int:
    return max(cell_len(_plain(cell)) for cell in (column.header, *column.cells))


def _plain(cell: RenderableType) -> str:
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)
