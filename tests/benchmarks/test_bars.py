"""What is held against a bar, and that every bar is of something that is measured."""

from __future__ import annotations

import pytest
from lab.bars import OURS, ROWS, Bar, TableRow, figures
from lab.clients import CLIENTS
from lab.faults import FAULTS
from lab.rows import FIELDS, Row


def line(**figures: float) -> Row:
    return {**figures}


def only(bar: Bar, lines: dict[str, Row]) -> float:
    (figure,) = figures(TableRow(words="", bars=[bar]), lines)
    return figure.value


def test_a_multiple_is_of_the_best_of_the_others() -> None:
    bar = Bar(field="last_x", most=1.0, of=("aria2", "libtorrent"))
    lines = {OURS: line(last_x=1.2), "aria2": line(last_x=2.0), "libtorrent": line(last_x=2.4)}
    assert only(bar, lines) == pytest.approx(0.6)


def test_a_time_is_held_against_the_undisturbed_one_less_what_the_fault_takes_by_itself() -> None:
    bar = Bar(line="away", field="last_s", most=1.2, minus_s=5)
    assert only(bar, {"away": line(last_s=35.0, undisturbed_s=30.0)}) == pytest.approx(1.0)


def test_a_figure_that_was_not_measured_is_no_figure() -> None:
    with pytest.raises(AssertionError, match="cross_rack_copies"):
        only(Bar(field="cross_rack_copies", most=1), {OURS: {"cross_rack_copies": None}})


@pytest.mark.parametrize("name", ROWS)
def test_every_bar_is_of_a_line_that_its_words_measure(name: str) -> None:
    row = ROWS[name]
    for bar in row.bars:
        assert bar.field in (*FIELDS, "last_s")
        assert bar.line == OURS or (bar.line in FAULTS and bar.line in row.words)
        assert all(other in CLIENTS and other in row.words for other in bar.of)
