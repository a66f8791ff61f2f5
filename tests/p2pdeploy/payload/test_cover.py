"""Covered ranges are merged, and what is between them is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.payload.cover import Cover


def test_ranges_that_touch_become_one() -> None:
    cover = Cover()
    for start, end in [(10, 20), (30, 40), (20, 30), (5, 6), (6, 6)]:
        cover.add(start, end)
    assert cover.gaps(0, 50) == [(0, 5), (6, 10), (40, 50)]
    assert cover.size_bytes == 31


def test_a_gap_is_told_only_as_far_as_asked() -> None:
    cover = Cover()
    cover.add(10, 20)
    assert cover.gaps(12, 18) == []
    assert cover.gaps(0, 12) == [(0, 10)]
    assert cover.gaps(18, 30) == [(20, 30)]
    assert cover.gaps(20, 30) == [(20, 30)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))), st.integers(0, 60))
def test_covered_and_gaps_are_all_there_is(ranges: list[tuple[int, int]], asked: int) -> None:
    cover = Cover()
    covered: set[int] = set()
    for start, end in ranges:
        cover.add(start, end)
        covered |= set(range(start, end))
    gaps = [set(range(start, end)) for start, end in cover.gaps(asked, 64)]
    assert set().union(*gaps) == set(range(asked, 64)) - covered
    assert sum(map(len, gaps)) == len(set(range(asked, 64)) - covered)
    assert cover.size_bytes == len(covered)
