"""Pieces of work that share a transaction: one that fails undoes itself alone."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
import trio

from p2pdeploy.errors import RefusedError
from p2ptracker.storage.database import SqliteDatabase
from p2ptracker.storage.group_commit import BATCH_MAX, GroupCommit


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
