"""Consecutive results decide, nothing else."""

from __future__ import annotations

import pytest

from p2pdaemon.services.health import CheckResult, Health, HealthCounter

OK = CheckResult(True, "fine")
BAD = CheckResult(False, "broken")
S, H, U = Health.STARTING, Health.HEALTHY, Health.UNHEALTHY


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+++", [S, H, H]),
        ("-----", [S, S, S, S, S]),
        ("+-+-++", [S, S, S, S, S, H]),
        ("++---", [S, H, H, H, U]),
        ("++--+--+---", [S, H, H, H, H, H, H, H, H, H, U]),
        ("++---+-++", [S, H, H, H, U, U, U, U, H]),
    ],
)
def test_verdict_follows_runs_of_equal_results(results, verdicts):
    counter = HealthCounter(healthy_after=2, unhealthy_after=3)
    assert [counter.handle(OK if result == "+" else BAD) for result in results] == verdicts


def test_newest_failure_is_kept_for_the_report():
    counter = HealthCounter(1, 1)
    counter.handle(BAD)
    counter.handle(OK)
    assert (counter.verdict, counter.last_failure) == (H, "broken")


def test_thresholds_of_one_react_at_once():
    counter = HealthCounter(1, 1)
    assert [counter.handle(OK), counter.handle(BAD), counter.handle(OK)] == [H, U, H]
