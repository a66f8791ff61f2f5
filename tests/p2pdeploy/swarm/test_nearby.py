"""A piece is missing when it has been absent for long and is not on its way."""

from __future__ import annotations

from p2pdeploy.messages.deal import MISSING_MAX
from p2pdeploy.swarm.nearby import Nearby

MISSING_S = 5.0


def looks(nearby: Nearby, absent: int, first: float, last: float) -> None:
    """One look a second."""
    now = first
    while now <= last:
        nearby.note(absent, now)
        now += 1.0


def exhausted() -> Nearby:
    nearby = Nearby(MISSING_S, 0.0)
    nearby.note_exhausted(0.0, exhausted=True)
    return nearby


def test_an_absent_piece_is_missing_after_a_while() -> None:
    nearby = exhausted()
    looks(nearby, 0b101, 0.0, 4.0)
    assert nearby.missing(4.9, 0) == ()
    looks(nearby, 0b101, 5.0, 5.0)
    assert nearby.missing(5.0, 0) == (0, 2)


def test_while_pieces_come_near_the_others_are_on_their_way() -> None:
    nearby = exhausted()
    looks(nearby, 0b111, 0.0, 9.0)
    looks(nearby, 0b011, 10.0, 14.0)
    assert nearby.missing(14.0, 0) == ()
    looks(nearby, 0b011, 15.0, 15.0)
    assert nearby.missing(15.0, 0) == (0, 1)


def test_a_piece_that_was_near_meanwhile_is_counted_anew() -> None:
    nearby = exhausted()
    looks(nearby, 0b11, 0.0, 4.0)
    looks(nearby, 0b01, 5.0, 5.0)
    looks(nearby, 0b11, 6.0, 10.0)
    assert nearby.missing(10.0, 0) == (0,)
    assert not nearby.is_long_absent(1)


def test_what_is_undealt_is_not_missing() -> None:
    nearby = exhausted()
    nearby.note_exhausted(1.0, exhausted=False)
    looks(nearby, 0b1, 0.0, 9.0)
    assert nearby.missing(9.0, 0) == ()
    nearby.note_exhausted(9.0, exhausted=True)
    nearby.note_exhausted(13.0, exhausted=True)
    assert nearby.missing(14.0, 0) == (0,)


def test_of_a_stripe_that_was_taken_over_pieces_are_asked_for_though_others_come() -> None:
    nearby = Nearby(MISSING_S, 0.0)
    for second in range(10):  # one piece a second comes near, never piece 0
        nearby.note(~((2 << second) - 2) & 0xFFFF, float(second))
    assert nearby.missing(9.0, 0) == ()
    assert nearby.missing(9.0, 0b1) == (0,)


def test_no_more_is_asked_for_than_a_request_may_name() -> None:
    nearby = exhausted()
    looks(nearby, (1 << 1000) - 1, 0.0, 5.0)
    assert nearby.missing(5.0, 0) == tuple(range(MISSING_MAX))
