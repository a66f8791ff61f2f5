"""What the swarm has to reach, and how far a measurement is from it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.rows import Row

__all__ = ["ROWS", "Bar", "Figure", "TableRow", "figures"]

OURS = "p2pdeploy"
RESTART_S = 5.0  # that the origin is away, on top of what the rest may cost


@dataclass(frozen=True, kw_only=True)
class Bar:
    """*field* of a line is at most *most*.

    ``line``: a client or a fault.  ``minus_s``: first taken off a time, which is then held against
    the undisturbed one.  ``of``: lines of which the figure is a multiple, the best one counts.
    """

    field: str
    most: float
    line: str = OURS
    minus_s: float = 0.0
    of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """``words``: of ``swarm.py``."""

    words: str
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value and what it may be at most."""

    what: str
    value: float
    bar: float


OTHERS = ("aria2", "transmission", "libtorrent")
_SIXTEEN = "--hosts 16 --mbit 20 --mib 64"
_GONE, _AWAY = "origin-killed-planted", "origin-restarted-30"

ROWS = {
    "16-hosts": TableRow(
        words=f"{_SIXTEEN} --vs {','.join(OTHERS)}",
        bars=[
            Bar(field="p50_x", most=1.08),
            Bar(field="last_x", most=1.12),
            Bar(field="origin_egress_f", most=1.05),
            Bar(field="last_x", most=1.0, of=OTHERS),
        ],
    ),
    "32-hosts": TableRow(
        words="--hosts 32 --mbit 10 --mib 64", bars=[Bar(field="last_x", most=1.15)]
    ),
    "1-host": TableRow(
        words="--hosts 1 --mbit 20 --mib 64 --vs curl",
        bars=[Bar(field="last_x", most=1.05, of=("curl",))],
    ),
    "racks": TableRow(
        words="--hosts 32 --mbit 10 --mib 64 --racks 4 --uplink-mbit 10",
        bars=[Bar(field="cross_rack_copies", most=1.2), Bar(field="last_x", most=1.25)],
    ),
    "cells": TableRow(
        words="--hosts 36 --mbit 10 --mib 64 --cells 3 --wan-mbit 20",
        bars=[
            Bar(field="cross_cell_copies", most=1.1),
            Bar(field="origin_egress_f", most=1.1),
            Bar(field="last_x", most=1.3),
        ],
    ),
    "origin-gone": TableRow(
        words=f"{_SIXTEEN} --fault {_GONE},{_AWAY}",
        bars=[
            Bar(line=_GONE, field="last_s", most=1.2),
            Bar(line=_GONE, field="origin_egress_f", most=1.1),
            Bar(line=_AWAY, field="last_s", most=1.2, minus_s=RESTART_S),
            Bar(line=_AWAY, field="origin_egress_f", most=1.1),
        ],
    ),
    "slow-host": TableRow(
        words=f"{_SIXTEEN} --fault slow-host",
        bars=[Bar(line="slow-host", field="last_s", most=1.05)],
    ),
}


def figures(row: TableRow, lines: Mapping[str, Row]) -> list[Figure]:
    """Each of the row's bars with what was measured.

    Args:
        row: Of the table.
        lines: Of ``swarm.py`` for its words, by client or fault.
    """
    return [_figure(bar, lines) for bar in row.bars]


def _figure(bar: Bar, lines: Mapping[str, Row]) -> Figure:
    line = lines[bar.line]
    value, what = _number(line, bar.field), f"{bar.line} {bar.field}"
    if bar.field == "last_s":
        value = (value - bar.minus_s) / _number(line, "undisturbed_s")
        away = f" less {bar.minus_s:g} s" if bar.minus_s else ""
        what = f"{what}{away}, of the undisturbed time"
    if bar.of:
        value /= min(_number(lines[other], bar.field) for other in bar.of)
        what = f"{what}, of that of {' or '.join(bar.of)}"
    return Figure(what=what, value=value, bar=bar.most)


def _number(row: Row, field: str) -> float:
    value = row[field]
    assert isinstance(value, int | float), f"{field} was not measured: {row}"
    return value
