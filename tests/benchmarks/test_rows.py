"""What a line of figures says, and what the median of several is."""

from __future__ import annotations

import json

from lab.rows import FIELDS, Row, compared, heading, median_row, shown

ROW: Row = dict.fromkeys(FIELDS, 1.5) | {"client": "aria2", "cross_rack_copies": None}


def run(last_x: float | None) -> Row:
    return ROW | {"last_x": last_x, "fault": "slow-host"}


def test_each_figure_has_a_median_of_its_own() -> None:
    median = median_row([run(1.2), run(1.1) | {"p50_x": 9.0}, run(5.0) | {"p50_x": 0.1}])
    assert (median["last_x"], median["p50_x"]) == (1.2, 1.5)


def test_what_all_runs_share_stays_as_it_is() -> None:
    median = median_row([run(1.2) | {"hosts": 16}, run(1.1) | {"hosts": 16}])
    assert (median["client"], median["fault"], str(median["hosts"])) == ("aria2", "slow-host", "16")
    assert median["cross_rack_copies"] is None


def test_a_figure_that_one_run_lacks_has_no_median() -> None:
    assert median_row([run(1.2), run(None), run(1.1)])["last_x"] is None


def test_a_fault_is_compared_with_the_undisturbed_time() -> None:
    row = compared(run(3.0) | {"bound_s": 10.0}, ROW | {"last_x": 1.5, "bound_s": 10.0})
    assert (row["last_s"], row["undisturbed_s"], row["of_undisturbed_x"]) == (30.0, 15.0, 2.0)


def test_a_json_line_has_the_named_fields_first() -> None:
    assert list(json.loads(shown(run(1.0), "json"))) == [*FIELDS, "fault"]
    assert heading("json") == ""


def test_a_table_has_a_column_for_each_field_and_names_the_rest() -> None:
    words = shown(run(1.0), "table").split()
    assert words[: len(FIELDS)] == [
        "aria2",
        *["-" if n == "cross_rack_copies" else str(run(1.0)[n]) for n in FIELDS[1:]],
    ]
    assert words[len(FIELDS) :] == ["fault=slow-host"]
    assert heading("table").split() == [*FIELDS]
