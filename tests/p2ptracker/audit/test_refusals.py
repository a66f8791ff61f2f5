"""Refusals on record: enough of every caller, never without bound."""

from __future__ import annotations

from p2ptracker.audit.refusals import CALLERS_MAX, REFUSALS_MAX, WINDOW_S, RefusalBudget


def test_a_stolen_certificate_cannot_fill_the_disk() -> None:
    budget = RefusalBudget()
    taken = sum(budget.take("thief", float(number)) for number in range(1_000))
    assert taken == REFUSALS_MAX
    assert budget.take("ann", 1_000.0), "one caller's flood hides nobody else's refusal"
    assert budget.take("thief", WINDOW_S), "an hour later it is news again"


def test_the_table_of_callers_is_bounded() -> None:
    budget = RefusalBudget()
    taken = [budget.take(f"host{number}", 0.0) for number in range(CALLERS_MAX + 9)]
    assert (sum(taken), len(budget)) == (CALLERS_MAX, CALLERS_MAX)
    assert budget.take("host1", 1.0), "who is in the table has its budget left"
    assert budget.take("late", WINDOW_S)
    assert len(budget) == 1
