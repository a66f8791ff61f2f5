"""Whose turn it is, and how many have theirs at once."""

from __future__ import annotations

from p2pdeploy.ids import HostName
from p2pdeploy.swarm.turns import AT_ONCE_FIRST, AT_ONCE_MAX, AT_ONCE_MIN, Turns

A, B, C = HostName("a"), HostName("b"), HostName("c")


def make_turns() -> Turns:
    return Turns(deal_s=0.5, away_s=6.0)


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


def test_deals_that_leave_quickly_let_more_leave_at_once_and_slow_ones_fewer():
    turns = make_turns()
    for _ in range(2 * AT_ONCE_MAX):
        turns.note_left(0.1, turns.at_once)
    assert turns.at_once == AT_ONCE_MAX
    for _ in range(2 * AT_ONCE_MAX):
        turns.note_left(9.0, turns.at_once)
    assert turns.at_once == AT_ONCE_MIN


def test_no_more_are_let_leave_than_would_be_used():
    turns = make_turns()
    turns.note_left(0.1, AT_ONCE_FIRST - 1)
    assert turns.at_once == AT_ONCE_FIRST


def test_a_host_that_is_away_keeps_nobody_waiting_and_finds_its_place_again():
    turns = make_turns()
    for host in (A, B, C):
        turns.take(host, AT_ONCE_FIRST, 0.0)
    turns.step_aside(A, 0.1)
    assert turns.due(AT_ONCE_FIRST - 1) == [B]
    assert not turns.take(A, AT_ONCE_FIRST, 1.0)
    assert turns.due(AT_ONCE_FIRST - 1) == [A]


def test_the_place_of_a_host_that_stays_away_is_given_up():
    turns = make_turns()
    for host in (A, B):
        turns.take(host, AT_ONCE_FIRST, 0.0)
    turns.step_aside(A, 0.1)
    assert not turns.take(C, AT_ONCE_FIRST, 6.2)
    assert not turns.take(A, AT_ONCE_FIRST, 6.3)
    assert turns.due(AT_ONCE_FIRST - 3) == [B, C, A]


def test_who_steps_aside_and_waited_for_nothing_changes_nothing():
    turns = make_turns()
    turns.step_aside(A, 0.0)
    assert turns.take(A, AT_ONCE_FIRST - 1, 0.1)
    turns.step_aside(A, 0.2)
    assert turns.due(0) == []
