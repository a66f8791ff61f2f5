"""A caller's bucket as a trace: tokens taken, refilled, and a table that stays small."""

from __future__ import annotations

from p2ptracker.announce.rates import Rates, RatesConfig

CONFIG = RatesConfig(per_s=2.0, burst=3, callers_max=4)


def test_after_a_burst_a_caller_waits_for_the_next_token() -> None:
    rates = Rates(CONFIG)
    assert [rates.take("h1", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rates.take("h1", 0.25) == 0.25
    assert rates.take("h1", 0.5) == 0.0


def test_a_refusal_takes_nothing_so_that_asking_in_vain_does_not_postpone_the_next_token() -> None:
    rates = Rates(CONFIG)
    for _ in range(3):
        rates.take("h1", 0.0)
    waits = [rates.take("h1", number / 100) for number in range(49)]
    assert min(waits) > 0
    assert rates.take("h1", 0.5) == 0.0


def test_a_bucket_never_holds_more_than_a_burst() -> None:
    rates = Rates(CONFIG)
    rates.take("h1", 0.0)
    assert [rates.take("h1", 1e6) > 0 for _ in range(4)] == [False, False, False, True]


def test_a_flood_of_one_takes_nothing_from_another() -> None:
    rates = Rates(CONFIG)
    for _ in range(1_000):
        rates.take("loud", 0.0)
    assert rates.take("quiet", 0.0) == 0.0


def test_a_flood_of_names_keeps_the_table_at_its_size() -> None:
    rates = Rates(CONFIG)
    for number in range(1_000):
        rates.take(f"c{number}", 0.0)
    assert len(rates) == CONFIG.callers_max
