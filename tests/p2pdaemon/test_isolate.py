"""A task of the daemon's own survives what happens to a healthy program, and nothing else."""

from __future__ import annotations

import errno

import pytest
import trio

from p2pdaemon import isolate
from p2pdaemon.isolate import keep_going
from p2pdeploy.errors import UnavailableError

FULL = OSError(errno.ENOSPC, "No space left on device")


class Failing:
    """A task that raises each of *errors* in turn, and ends then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.began: list[float] = []

    async def run(self) -> None:
        self.began.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        UnavailableError("the disk is full"),
        trio.BrokenResourceError("gone"),
        ExceptionGroup("of a nursery", [FULL, ExceptionGroup("inner", [FULL])]),
    ],
    ids=["os", "ours", "stream", "group"],
)
async def test_a_task_that_fails_as_expected_begins_anew(autojump_clock, logged, error) -> None:
    task = Failing(error)
    await keep_going("tidy up", task.run)
    assert len(task.began) == 2
    assert [(entry["task"], entry["level"]) for entry in logged] == [("tidy up", "warning")]


@pytest.mark.parametrize(
    "error", [AssertionError("a bug"), ExceptionGroup("of a nursery", [FULL, KeyError("a bug")])]
)
async def test_a_mistake_in_the_program_passes_through(autojump_clock, error) -> None:
    with pytest.raises(type(error)):
        await keep_going("tidy up", Failing(error).run)


async def test_it_is_tried_ever_later_and_never_later_than_a_minute(autojump_clock, logged) -> None:
    task = Failing(*[FULL] * 9)
    await keep_going("tidy up", task.run)
    pauses = [round(b - a) for a, b in zip(task.began, task.began[1:], strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_what_worked_for_long_is_begun_anew_at_once(autojump_clock, logged) -> None:
    task = Failing(FULL, FULL)

    async def works_first() -> None:
        await trio.sleep(isolate.PAUSE_MAX_S + 1)
        await task.run()

    await keep_going("tidy up", works_first)
    assert [entry["again_s"] for entry in logged] == [1.0, 1.0]
