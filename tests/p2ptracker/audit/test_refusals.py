"""Refusals on record: enough of every caller, never without bound."""

from __future__ import annotations

from p2ptracker.audit.refusals import (
    CALLERS_MAX,
    REFUSALS_MAX,
    UNUSED_MAX,
    WINDOW_S,
    RefusalBudget,
    UnusedBegun,
)


def test_a_stolen_certificate_cannot_fill_the_disk() -> None:
    budget = RefusalBudget()
    taken = sum(budget.take("thief", float(number)) for number in range(1_000))
    assert taken == REFUSALS_MAX
    assert budget.is_spent("thief", 1_000.0)
    assert not budget.is_spent("ann", 1_000.0)
    assert budget.take("ann", 1_000.0), "one caller's flood hides nobody else's refusal"
    assert not budget.is_spent("thief", WINDOW_S), "an hour later it is news again"
    assert budget.take("thief", WINDOW_S)


def test_the_table_of_callers_is_bounded() -> None:
    budget = RefusalBudget()
    taken = [budget.take(f"host{number}", 0.0) for number in range(CALLERS_MAX + 9)]
    assert (sum(taken), len(budget)) == (CALLERS_MAX, CALLERS_MAX)
    assert budget.take("host1", 1.0), "who is in the table has its budget left"
    assert budget.take("late", WINDOW_S)
    assert len(budget) == 1


def test_an_entry_serves_one_call_at_a_time_and_only_its_caller_and_route() -> None:
    unused, route = UnusedBegun(), ("ann", "A1", "POST", "/v1/rollouts")
    unused.put(route, 7)
    assert unused.take(("eve", *route[1:])) == 0
    assert unused.take((*route[:3], "/v1/revocations")) == 0
    assert (unused.take(route), unused.take(route)) == (7, 0)


def test_the_entries_that_are_kept_are_bounded() -> None:
    unused, route = UnusedBegun(), ("ann", "A1", "POST", "/v1/rollouts")
    for number in range(UNUSED_MAX + 9):
        unused.put(route, number)
    assert len(unused) == UNUSED_MAX
    assert unused.take(route) == 9, "the oldest were forgotten"
