"""Coverage over time: between the words of hosts, thinned, and never falling."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.messages.swarm import POINTS_MAX
from p2ptracker.spreads.curve import Curve
from p2ptracker.spreads.trail import WORDS_MAX, Trail


def test_between_two_words_bytes_come_evenly() -> None:
    trail = Trail(100.0, 0)
    trail.note(104.0, 400)
    trail.note(106.0, 1000)
    assert [trail.have_bytes(at) for at in (99, 100, 101, 104, 105, 106, 200)] == [
        0, 0, 100, 400, 700, 1000, 1000,
    ]  # fmt: skip


def test_words_that_came_late_or_tell_of_less_change_nothing() -> None:
    trail = Trail(0.0, 10)
    trail.note(5.0, 60)
    trail.note(4.0, 100)
    trail.note(6.0, 50)
    assert trail.have_bytes(9.0) == 60


def test_a_trail_remembers_the_newest_words() -> None:
    trail = Trail(0.0, 0)
    for second in range(1, 100):
        trail.note(second, second)
    assert trail.have_bytes(99.0 - WORDS_MAX / 2) == 99 - WORDS_MAX / 2
    assert trail.have_bytes(1.0) == 99 - WORDS_MAX + 1


def test_a_point_has_the_sum_the_median_and_the_least() -> None:
    curve = Curve()
    curve.add(0.0, [0.0, 0.5, 1.0, 0.1])
    (point,) = curve.points
    assert (point.coverage, point.p50, point.least) == (0.4, 0.1, 0.0)


@pytest.mark.parametrize("hours", [1, 10, 200])
def test_long_runs_are_thinned_evenly(hours: int) -> None:
    curve, until_s = Curve(), hours * 3600
    while curve.next_at_s <= until_s:
        curve.add(curve.next_at_s, [curve.next_at_s / until_s])
    points = curve.points
    assert POINTS_MAX / 2 <= len(points) <= POINTS_MAX
    gaps = {later.at_s - point.at_s for point, later in itertools.pairwise(points)}
    assert len(gaps) == 1
    assert (points[0].at_s, points[-1].at_s) == (0, pytest.approx(until_s, rel=0.01))


def test_a_curve_goes_on_where_an_earlier_process_left_it() -> None:
    curve = Curve()
    for _ in range(600):
        curve.add(curve.next_at_s, [0.5])
    again = Curve(curve.points)
    assert again.next_at_s == curve.next_at_s
    again.add(again.next_at_s, [0.0])  # nobody was heard yet
    assert again.points[-1].coverage == 0.5


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=700))
def test_no_curve_ever_falls(rows: list[list[float]]) -> None:
    curve = Curve()
    for shares in rows:
        curve.add(curve.next_at_s, shares)
    for earlier, later in itertools.pairwise(curve.points):
        assert earlier.coverage <= later.coverage
        assert earlier.p50 <= later.p50
        assert earlier.least <= later.least
