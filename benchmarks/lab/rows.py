"""One line of figures for each client, as JSON or as a table, and the medians of several (pure)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

__all__ = ["FIELDS", "Form", "Row", "compared", "heading", "median_row", "shown"]

Value: TypeAlias = str | int | float | bool | None
Row: TypeAlias = dict[str, Value]
"""The fields below in this order, and then what belongs to this measurement alone."""

Form: TypeAlias = Literal["json", "table"]

FIELDS = (
    "client",
    "hosts",
    "mib",
    "goodput_mbit",
    "bound_s",
    "p50_x",
    "last_x",
    "origin_egress_f",
    "cross_rack_copies",
    "cross_cell_copies",
    "cpu_s_per_gb",
    "rss_mib_max",
)
_CLIENT_WIDTH = 12  # of the longest name


def median_row(rows: Sequence[Row]) -> Row:
    """The median of each figure of *rows*, which are runs of the same work.

    What is the same in all stays as it is; a figure that a run lacks (None) has no median.
    """
    first = rows[0]
    return {name: _median([row.get(name) for row in rows]) for name in first}


def compared(row: Row, undisturbed: Row) -> Row:
    """*row* of a fault, and how much longer its last host took than that of *undisturbed*."""
    last_s, usual_s = _last_s(row), _last_s(undisturbed)
    return row | {
        "last_s": round(last_s, 2),
        "undisturbed_s": round(usual_s, 2),
        "of_undisturbed_x": round(last_s / usual_s, 3),
    }


def _last_s(row: Row) -> float:
    last_x, bound_s = row["last_x"], row["bound_s"]
    assert isinstance(last_x, int | float)
    assert isinstance(bound_s, int | float)
    return last_x * bound_s


def _median(values: Sequence[Value]) -> Value:
    if all(value == values[0] for value in values):
        return values[0]  # what was asked for, as it was asked
    numbers = [
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) < len(values):
        return None
    return round(statistics.median(numbers), 3)


def heading(form: Form) -> str:
    """The line above the others; empty where they say themselves what they are."""
    return _line(dict(zip(FIELDS, FIELDS, strict=True))) if form == "table" else ""


def shown(row: Row, form: Form) -> str:
    """One line."""
    if form == "json":
        return json.dumps(row)
    more = [f"{name}={_text(value)}" for name, value in row.items() if name not in FIELDS]
    return "  ".join([_line(row), *more])


def _line(row: Mapping[str, Value]) -> str:
    client, *figures = FIELDS
    cells = [_text(row[client]).ljust(_CLIENT_WIDTH)]
    cells += [_text(row[name]).rjust(len(name)) for name in figures]
    return "  ".join(cells)


def _text(value: Value) -> str:
    return "-" if value is None else str(value)
