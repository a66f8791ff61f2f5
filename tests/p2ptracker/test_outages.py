"""A database that cannot be written for a while: the control plane waits, and loses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict

from p2pdeploy.messages.attestation import Rank
from p2ptracker.cells import replicas
from p2ptracker.rollouts import orchestrator
from p2ptracker.storage import database
from p2ptracker.storage.observations import Observation, stored_observations
from tests.p2ptracker.rollout_bench import EVERYBODY, World, open_world


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[World]:
    """Looks and stores at once, and does not wait for a lock."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 0)
    monkeypatch.setattr(replicas, "STORE_EVERY_S", 0.01)
    monkeypatch.setattr(orchestrator, "LOOK_EVERY_S", 0.01)
    async with open_world(tmp_path / "fleet") as opened:
        yield opened


@contextmanager
def locked(world: World) -> Generator[None]:
    """Another program holds the database's lock."""
    connection = sqlite3.connect(world.folder / "tracker" / "registry.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def until(told: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while True:
            if told():
                return
            await trio.sleep(0.01)


def failures(logs: list[EventDict], event: str) -> int:
    return sum(entry["event"] == event for entry in logs)


async def observations_of(world: World, count: int) -> list[Observation]:
    with trio.fail_after(10):
        while True:
            stored = await world.plane.database.read(stored_observations)
            if len(stored) == count:
                return stored
            await trio.sleep(0.01)


async def test_conducting_goes_on_when_a_look_could_not_be_stored(world: World) -> None:
    await world.apply("1")
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with locked(world):
                nursery.start_soon(world.plane.orchestrator.conduct_cells)
                await until(lambda: failures(logs, "look-failed") >= 2)
                assert world.order("go") is None, "what is not stored is not issued"
            await until(lambda: world.order("go") is not None)
            nursery.cancel_scope.cancel()
    codes = {entry["code"] for entry in logs if entry["event"] == "look-failed"}
    assert codes == {"database-unavailable"}


async def test_what_cells_said_is_stored_once_the_database_is_there_again(world: World) -> None:
    await world.apply("1")
    await world.look()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with locked(world):
                nursery.start_soon(world.plane.cells.store_what_cells_said)
                world.say(EVERYBODY[:1], world.plan().plan_seq, Rank.ACCEPTED)
                await until(lambda: failures(logs, "store-failed") >= 1)
                world.say(EVERYBODY, world.plan().plan_seq, Rank.STAGED)
                again = failures(logs, "store-failed")
                await until(lambda: failures(logs, "store-failed") > again)
            stored = await observations_of(world, len(EVERYBODY))
            nursery.cancel_scope.cancel()
    assert {(seen.host, seen.state) for seen in stored} == {(h, "staged") for h in EVERYBODY}


async def test_it_stops_cleanly_when_the_last_words_cannot_be_stored(world: World) -> None:
    await world.apply("1")
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq, Rank.STAGED)
    with capture_logs() as logs, locked(world):
        await world.stop()
    assert failures(logs, "store-failed") == 1
    await world.start()
    world.sync()
    evidence = world.plane.cells.get(world.plan().cell).evidence["hello"]
    assert {word.rank for word in evidence.values()} == {Rank.STAGED}, "the cell told it again"


async def test_what_cells_said_is_kept_when_storing_it_is_cancelled(world: World) -> None:
    await world.apply("1")
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq, Rank.STAGED)
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.plane.cells.store_unsaved()
    await world.plane.cells.store_unsaved()
    await observations_of(world, len(EVERYBODY))
