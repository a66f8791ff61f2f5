"""Pieces of work that share a transaction: one that fails undoes itself alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
import trio
from trio.testing import wait_all_tasks_blocked

from p2pdeploy.errors import RefusedError, UnavailableError
from p2ptracker.storage.database import SqliteDatabase
from p2ptracker.storage.group_commit import BATCH_MAX, GroupCommit

T = TypeVar("T")


async def test_one_that_fails_undoes_itself_alone_and_all_share_few_transactions(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(tmp_path / "db")
    await database.open()
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE t (n INTEGER)").close())
    written: list[int] = []

    def work(connection: sa.Connection, number: int) -> int:
        connection.exec_driver_sql(f"INSERT INTO t VALUES ({number})")
        if number % 5 == 0:
            raise RefusedError(f"{number} is refused")
        written.append(number)
        return number

    group, outcomes = GroupCommit(database, work), {}

    async def do(number: int) -> None:
        outcomes[number] = await group.do(number)

    async with trio.open_nursery() as nursery:
        for number in range(1, 2 * BATCH_MAX):
            nursery.start_soon(do, number)
    rows = await database.read(lambda c: set(c.exec_driver_sql("SELECT n FROM t").scalars()))
    assert rows == {n for n in outcomes if n % 5} == set(written)
    assert all(isinstance(outcomes[n], RefusedError) for n in outcomes if n % 5 == 0)
    assert all(outcomes[n] == n for n in rows)
    await database.close()


class Held:
    """A real database, each of whose transactions waits for its turn and may then fail."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.begun: defaultdict[int, trio.Event] = defaultdict(trio.Event)
        self.turns = trio.Semaphore(0)
        self.failure: Exception | None = None
        self.count = 0

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        return await self._database.read(work)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        self.count += 1
        self.begun[self.count].set()
        with trio.CancelScope(shield=True):  # as a thread, which nobody stops half way
            await self.turns.acquire()
            if self.failure is not None:
                raise self.failure
            return await self._database.write(work)
        raise AssertionError("a shielded scope ends by itself")


def negative_of(_connection: sa.Connection, number: int) -> int:
    return -number


@pytest.fixture
async def held(tmp_path: Path) -> AsyncGenerator[Held]:
    database = SqliteDatabase(tmp_path / "db")
    await database.open()
    yield Held(database)
    await database.close()


async def test_what_is_stored_is_known_also_when_who_asked_for_it_was_cancelled(
    held: Held,
) -> None:
    known: list[tuple[int, int]] = []

    def note(number: int, result: int) -> None:
        known.append((number, result))

    group = GroupCommit(held, negative_of, note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.do, 1)
        await held.begun[1].wait()
        nursery.start_soon(group.do, 2)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as strangers:
            strangers.start_soon(group.do, 3)
            await wait_all_tasks_blocked()
            held.turns.release()
            await held.begun[2].wait()  # of two and three
            strangers.cancel_scope.cancel()
        held.turns.release()
    assert known == [(1, -1), (2, -2), (3, -3)]


async def test_a_transaction_that_failed_is_not_tried_anew_by_each_who_was_in_it(
    held: Held,
) -> None:
    held.failure = UnavailableError("locked", code="database-unavailable")
    group = GroupCommit(held, negative_of)
    codes: list[str] = []

    async def do(number: int) -> None:
        with pytest.raises(UnavailableError, match="locked") as failed:
            await group.do(number)
        codes.append(failed.value.code)

    async with trio.open_nursery() as nursery:
        for number in range(BATCH_MAX):
            nursery.start_soon(do, number)
        await wait_all_tasks_blocked()
        held.turns.release()
    assert codes == ["database-unavailable"] * BATCH_MAX
    assert held.count == 1, "who came later would wait for the same lock"
    held.failure = None
    held.turns.release()
    assert await group.do(7) == -7, "and the next one is tried"
