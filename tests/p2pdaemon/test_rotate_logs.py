"""Logs stay in bounds whatever a service does to its own folder."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pdaemon.rotate_logs import rotate_logs
from p2pdaemon.services import log_pace
from p2pdaemon.services.log_pace import LogPace, Looked
from p2pdaemon.services.logs import KEPT_MAX, ROTATE_BYTES
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import ServiceName

HELLO = ServiceName("hello")


@pytest.fixture
def rotating(store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Let it look at all logs at least twice, begin to end."""
    looks = 0
    really = LogPace.next_look_s

    def count(pace: LogPace, logs: dict[str, Looked], now_s: float) -> float:
        nonlocal looks
        looks += 1
        return really(pace, logs, now_s)

    monkeypatch.setattr(LogPace, "next_look_s", count)
    monkeypatch.setattr(log_pace, "LOOK_MAX_S", 0.001)
    monkeypatch.setattr(log_pace, "LOOK_MIN_S", 0.001)

    async def look() -> None:
        wanted = looks + 3
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rotate_logs, store)
                while looks < wanted:  # noqa: ASYNC110 it works in threads
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()

    return look


async def test_a_log_that_outgrew_its_limit_is_rotated_and_its_end_kept(
    store: ReleaseStore, rotating: Callable[[], Awaitable[None]]
) -> None:
    log = store.log_path(HELLO)
    log.parent.mkdir(parents=True)
    end = random.Random(1).randbytes(1000)
    with log.open("wb") as file:
        file.truncate(ROTATE_BYTES)
        file.seek(ROTATE_BYTES)
        file.write(end)
    await rotating()
    assert log.stat().st_size == 0
    older = log.with_name(f"{log.name}.1")
    assert older.stat().st_size == ROTATE_BYTES
    assert older.read_bytes()[-1000:] == end


async def test_a_talkative_service_cannot_fill_the_disk(
    store: ReleaseStore, rotating: Callable[[], Awaitable[None]]
) -> None:
    log = store.log_path(HELLO)
    log.parent.mkdir(parents=True)
    for _ in range(KEPT_MAX + 2):
        log.touch()
        os.truncate(log, ROTATE_BYTES + 1)
        await rotating()
    parts = sorted(path.name for path in log.parent.iterdir())
    assert parts == [log.name, *(f"{log.name}.{n + 1}" for n in range(KEPT_MAX))]


async def test_one_bad_log_keeps_no_other_from_rotation_and_is_told_once(
    store: ReleaseStore,
    rotating: Callable[[], Awaitable[None]],
    logged: list[dict[str, object]],
) -> None:
    store.log_path(ServiceName("aaa")).mkdir(parents=True)
    good = store.log_path(ServiceName("bbb"))
    good.parent.mkdir(parents=True)
    good.write_bytes(b"x" * (ROTATE_BYTES + 1))
    await rotating()
    assert good.stat().st_size == 0
    assert [entry["event"] for entry in logged] == ["log not rotated"]
