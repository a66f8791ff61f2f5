"""What the control plane does by itself goes on after an outage, and a mistake of ours is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.exc import TimeoutError as NoConnectionError
from structlog.testing import capture_logs

from p2pdeploy.errors import ConfigError, UnavailableError
from p2ptracker import supervision
from p2ptracker.control_plane import ControlPlane, open_control_plane
from p2ptracker.enrolment import revoking, rotating
from p2ptracker.keys import rotator
from p2ptracker.releases import keeper
from p2ptracker.run import run_tasks
from p2ptracker.supervision import AGAIN_MAX_S, AGAIN_S, STEADY_S, keep_going
from tests.p2ptracker.tracker_bench import open_http

EXPECTED = (
    UnavailableError("the database is locked", code="database-unavailable"),
    ConfigError("damaged", where="trust/cells/lab.web.c0.keys"),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    NoConnectionError("no connection within 30 s"),
)


def a_counter() -> Counter:
    return Counter("failures", "of a test", ["task"], registry=CollectorRegistry())


def count(failures: Counter, task: str) -> float:
    return failures.labels(task=task)._value.get()


async def test_an_expected_failure_is_logged_counted_and_tried_again_with_patience(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults, failures, began_at = list(EXPECTED + EXPECTED), a_counter(), list[float]()

    async def task() -> None:
        began_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if faults:
            raise faults.pop(0)

    with capture_logs() as logs:
        await keep_going("look", task, failures)
    waits = [after - before for before, after in pairwise(began_at)]
    assert waits[:3] == [AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S]
    assert max(waits) == AGAIN_MAX_S
    assert count(failures, "look") == 8
    assert [entry["reason"] for entry in logs] == [str(fault) for fault in EXPECTED + EXPECTED]


async def test_a_task_that_was_well_for_long_is_tried_again_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    failed_at: list[float] = []

    async def task() -> None:
        await trio.sleep(STEADY_S if len(failed_at) == 5 else 0)
        failed_at.append(trio.current_time())
        if len(failed_at) == 7:
            return
        raise UnavailableError("locked")

    await keep_going("look", task, a_counter())
    assert failed_at[6] - failed_at[5] == AGAIN_S


async def test_a_mistake_of_ours_is_not_passed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def task() -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("this cannot be")

    with pytest.raises(AssertionError):
        await keep_going("look", task, a_counter())


def fail_once(owner: Any, name: str) -> Callable[[], int]:
    """Have a method fail at its first call; returns how often it was called."""
    method: Callable[..., Awaitable[object]] = getattr(owner, name)
    calls = 0

    async def sick(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise NoConnectionError("no connection within 30 s")
        return await method(*args)

    setattr(owner, name, sick)
    return lambda: calls


def fail_everywhere(plane: ControlPlane) -> dict[str, Callable[[], int]]:
    """By task, how often its first step was made."""
    plane.keys._rotations["nothing"] = None  # pyright: ignore[reportArgumentType]
    return {
        "store_what_cells_said": fail_once(plane.cells, "store_unsaved"),
        "conduct_cells": fail_once(plane.orchestrator, "look"),
        "tell_cells": fail_once(plane.revoker, "_learn_back"),
        "rotate_rings": fail_once(plane.rotator, "begin_wanted"),
        "rotate_keys": fail_once(plane.keys, "_step"),
        "keep_fresh": fail_once(plane.repository, "refresh_if_due"),
    }


async def test_no_task_of_the_control_plane_ends_it_by_an_expected_failure(
    fleet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "AGAIN_S", 0.01)
    monkeypatch.setattr(revoking, "TELL_EVERY_S", 0.01)
    for module in (rotating, rotator, keeper):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    async with open_control_plane(fleet_dir) as plane, trio.open_nursery() as nursery:
        calls = fail_everywhere(plane)
        ports = await nursery.start(run_tasks, plane)
        with trio.fail_after(20):
            while True:
                if min(count() for count in calls.values()) >= 2:
                    break
                await trio.sleep(0.01)
        failures = plane.metrics.task_failures
        assert {task: count(failures, task) for task in calls} == dict.fromkeys(calls, 1)
        async with open_http(plane.trust.paths.operator_files(), ports.api) as http:
            assert (await http.get("/v1/hosts")).status_code == 200
        nursery.cancel_scope.cancel()
