"""The limit that every distribution is measured against."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.swarm.limit import Cut, Link, limit_s

MB = 1_000_000
RATES = st.floats(1e3, 1e10)
LINKS = st.lists(st.builds(Link, st.integers(1, 10**11), RATES, RATES), min_size=1, max_size=40)


def equals(count: int, size_bytes: int = 64 * MB, rate: float = 2.0 * MB) -> list[Link]:
    return [Link(size_bytes, rate, rate)] * count


def test_among_equals_it_is_one_copy_and_the_filling_of_the_pipeline() -> None:
    assert limit_s(equals(16), origin_bytes_per_s=2 * MB, piece_count=1024) == pytest.approx(
        32 * (1 + 4 / 1024)
    )


def test_one_host_fills_no_pipeline() -> None:
    assert limit_s(equals(1), origin_bytes_per_s=2 * MB, piece_count=1) == 32


@pytest.mark.parametrize(
    ("links", "origin", "seconds"),
    [
        (equals(4), 1.0 * MB, 64),
        ([*equals(3), Link(64 * MB, 0.5 * MB, 2.0 * MB)], 2.0 * MB, 128),
        ([Link(64 * MB, 100.0 * MB, 1.0 * MB)] * 8, 8.0 * MB, 32),
    ],
    ids=["the origin", "the slowest host", "all uplinks together"],
)
def test_what_is_slowest_decides(links: list[Link], origin: float, seconds: float) -> None:
    found = limit_s(links, origin_bytes_per_s=origin, piece_count=10**9)
    assert found == pytest.approx(seconds)


def test_a_narrow_cut_decides() -> None:
    cuts = [Cut(64 * MB, 8.0 * MB), Cut(64 * MB, 1.0 * MB)]
    found = limit_s(equals(16), origin_bytes_per_s=2 * MB, piece_count=10**9, cuts=cuts)
    assert found == pytest.approx(64)


def test_whoever_lacks_nothing_costs_nothing_and_helps_nobody() -> None:
    assert limit_s([Link(0, 0, 0)], origin_bytes_per_s=0, piece_count=1) == 0
    with_idle = [*equals(4), Link(0, 0, 0)]
    assert limit_s(with_idle, origin_bytes_per_s=MB, piece_count=9) == limit_s(
        equals(4), origin_bytes_per_s=MB, piece_count=9
    )


@given(links=LINKS, origin=RATES, pieces=st.integers(1, 10**6))
def test_it_is_never_below_any_single_limit(links: list[Link], origin: float, pieces: int) -> None:
    found = limit_s(links, origin_bytes_per_s=origin, piece_count=pieces)
    assert all(found >= link.needed_bytes / link.down_bytes_per_s for link in links)
    assert found >= max(link.needed_bytes for link in links) / origin
    uplinks = origin + sum(link.up_bytes_per_s for link in links)
    assert found >= sum(link.needed_bytes for link in links) / uplinks


@given(links=LINKS, origin=RATES, factor=st.floats(1.1, 10))
def test_faster_links_never_raise_it(links: list[Link], origin: float, factor: float) -> None:
    faster = [
        Link(link.needed_bytes, link.down_bytes_per_s * factor, link.up_bytes_per_s * factor)
        for link in links
    ]
    before = limit_s(links, origin_bytes_per_s=origin, piece_count=100)
    after = limit_s(faster, origin_bytes_per_s=origin * factor, piece_count=100)
    assert after == pytest.approx(before / factor)
