"""Whose turn it is, and how many have theirs at once."""

from __future__ import annotations

from p2pdeploy.ids import HostName
from p2pdeploy.swarm.turns import AT_ONCE_FIRST, AT_ONCE_MAX, AT_ONCE_MIN, Turns

A, B, C = HostName("a"), HostName("b"), HostName("c")


def make_turns() -> Turns:
    return Turns(deal_s=0.5, stale_s=6.0)


def test_who_waits_longest_is_next():
    turns = make_turns()
    assert not turns.take(A, AT_ONCE_FIRST, 0.0)
    assert not turns.take(B, AT_ONCE_FIRST, 0.1)
    assert not turns.take(A, AT_ONCE_FIRST, 0.2), "asking again changes nothing"
    assert turns.due(AT_ONCE_FIRST - 1) == [A]
    assert not turns.take(C, AT_ONCE_FIRST - 1, 0.3)
    assert turns.take(A, AT_ONCE_FIRST - 1, 0.4)
    assert turns.due(AT_ONCE_FIRST - 2) == [B, C]


def test_who_leaves_waits_no_more():
    turns = make_turns()
    turns.take(A, AT_ONCE_FIRST, 0.0)
    turns.leave(A)
    assert turns.due(0) == []


def test_quick_deals_let_more_be_on_their_way_and_slow_ones_fewer():
    turns = make_turns()
    for _ in range(2 * AT_ONCE_MAX):
        turns.note_confirmed(0.1, turns.at_once)
    assert turns.at_once == AT_ONCE_MAX
    for _ in range(2 * AT_ONCE_MAX):
        turns.note_confirmed(9.0, turns.at_once)
    assert turns.at_once == AT_ONCE_MIN


def test_no_more_are_let_on_their_way_than_would_be_used():
    turns = make_turns()
    turns.note_confirmed(0.1, AT_ONCE_FIRST - 1)
    assert turns.at_once == AT_ONCE_FIRST
