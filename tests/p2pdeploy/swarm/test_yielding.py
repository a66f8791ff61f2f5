"""Yielding: down under pressure to a floor, still in between, up again within a bounded time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.swarm.yielding import FLOOR_BYTES_PER_S, RECOVERY_S, Ceiling, adapted

MB = 1_000_000
pressures = st.floats(0, 10)
rates = st.integers(0, 5_000 * MB)
limits = st.none() | st.integers(125_000, 5_000 * MB)
ceilings = st.builds(
    Ceiling,
    rate_bytes_per_s=st.none() | st.integers(FLOOR_BYTES_PER_S, 5_000 * MB),
    pressure=pressures,
    calm_s=st.floats(0, RECOVERY_S),
)


def run(
    ceiling: Ceiling, pressure: float, seconds: int, *, used: int = 100 * MB, limit: int | None
) -> list[int | None]:
    """The rate after each of *seconds* looks at one *pressure*."""
    found: list[int | None] = []
    for _ in range(seconds):
        ceiling = adapted(
            ceiling, pressure, used_bytes_per_s=used, limit_bytes_per_s=limit, elapsed_s=1.0
        )
        found.append(ceiling.rate_bytes_per_s)
    return found


def in_effect(rate: int | None, limit: int | None) -> float:
    known = [each for each in (rate, limit) if each is not None]
    return min(known, default=float("inf"))


def test_without_pressure_nothing_is_held_back():
    assert set(run(Ceiling(), 0.2, 60, limit=None)) == {None}


def test_pressure_cuts_what_moves_now_until_the_floor():
    rates = run(Ceiling(), 1.5, 40, limit=None)
    first = next(rate for rate in rates if rate is not None)
    assert first <= 70 * MB
    assert rates[-1] == FLOOR_BYTES_PER_S


def test_one_burst_of_a_second_changes_nothing():
    assert run(Ceiling(), 1.5, 1, limit=None) == [None]


def test_twice_the_pressure_cuts_harder():
    begun = Ceiling(50 * MB, 1.5)
    assert run(begun, 4.0, 1, limit=None)[0] < run(begun, 1.5, 1, limit=None)[0]


def test_between_calm_and_pressure_the_ceiling_stands_still():
    assert set(run(Ceiling(20 * MB, 0.75), 0.75, 120, limit=None)) == {20 * MB}


def test_in_calm_it_grows_each_second_and_is_gone_in_time():
    rates = run(Ceiling(FLOOR_BYTES_PER_S, 0.0), 0.0, int(RECOVERY_S), limit=None)
    grown = [rate for rate in rates if rate is not None]
    assert grown == sorted(grown)
    assert grown[0] > FLOOR_BYTES_PER_S
    assert rates[-1] is None


def test_a_ceiling_that_reaches_the_limit_is_none():
    assert run(Ceiling(9 * MB, 0.0), 0.0, 3, limit=10 * MB)[-1] is None


@given(ceilings, pressures, rates, limits)
def test_it_is_never_below_the_floor_unless_the_limit_is(
    before: Ceiling, pressure: float, used: int, limit: int | None
):
    rate = run(before, pressure, 1, used=used, limit=limit)[0]
    floor = FLOOR_BYTES_PER_S if limit is None else min(FLOOR_BYTES_PER_S, limit)
    assert in_effect(rate, limit) >= floor


@given(ceilings, pressures, pressures, rates, limits)
def test_more_pressure_never_allows_more(
    before: Ceiling, one: float, other: float, used: int, limit: int | None
):
    less, more = sorted((one, other))
    eased = run(before, less, 1, used=used, limit=limit)[0]
    pressed = run(before, more, 1, used=used, limit=limit)[0]
    assert in_effect(pressed, limit) <= in_effect(eased, limit)


@given(ceilings, pressures, rates, limits)
def test_under_constant_input_it_turns_once_at_most(
    before: Ceiling, pressure: float, used: int, limit: int | None
):
    rates = run(before, pressure, 120, used=used, limit=limit)
    shown = [in_effect(rate, limit) for rate in rates]
    steps = [after > before for before, after in pairwise(shown) if after != before]
    assert sum(a != b for a, b in pairwise(steps)) <= 1
    assert len(set(shown[90:])) == 1


@given(ceilings, rates, limits)
def test_calm_lifts_every_ceiling_within_the_recovery_time(
    before: Ceiling, used: int, limit: int | None
):
    # The smoothed pressure of 10 is below the calm mark after five looks.
    assert run(before, 0.0, int(RECOVERY_S) + 5, used=used, limit=limit)[-1] is None
