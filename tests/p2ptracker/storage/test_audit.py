"""The audit log's rows: appended, chained, read page by page, also after an upgrade."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from p2pdeploy.errors import IntegrityError
from p2pdeploy.messages.audit import NOTHING_BEFORE, AuditEntry, follow_chain
from p2ptracker.storage.audit import append_audit, audit_entries
from p2ptracker.storage.database import SqliteDatabase
from tests.p2ptracker.storage.older import step_back


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "registry.db")
    await database.open()
    yield database
    await database.close()


def an_entry(path: str) -> AuditEntry:
    return AuditEntry(
        seq=0,
        at=dt.datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=dt.UTC),
        step="begun",
        who="spiffe://lab/operator/ann",
        method="POST",
        path=path,
        previous=NOTHING_BEFORE,
    )


async def append(database: SqliteDatabase, count: int) -> list[AuditEntry]:
    return [
        await database.write(lambda c, n=number: append_audit(c, an_entry(f"/{n}")))
        for number in range(count)
    ]


async def test_what_is_read_back_is_the_chain_that_was_written(database: SqliteDatabase) -> None:
    written = await append(database, 5)
    read = await database.read(lambda c: audit_entries(c, after=0, limit=100))
    assert read == written
    assert [entry.seq for entry in read] == [1, 2, 3, 4, 5]
    assert follow_chain(read).digest == written[-1].digest
    page = await database.read(lambda c: audit_entries(c, after=2, limit=2))
    assert page == written[2:4]


async def test_an_edited_database_shows(database: SqliteDatabase) -> None:
    await append(database, 3)
    await database.write(
        lambda c: c.execute(
            sa.text("UPDATE audit SET document = replace(document, 'ann', 'bob') WHERE seq = 2")
        ).close()
    )
    read = await database.read(lambda c: audit_entries(c, after=0, limit=100))
    with pytest.raises(IntegrityError, match="entry 2"):
        follow_chain(read)


async def test_a_database_from_before_the_log_gets_it(
    tmp_path: Path, database: SqliteDatabase
) -> None:
    fresh = await database.read(lambda c: sa.inspect(c).get_columns("audit"))
    older = SqliteDatabase(tmp_path / "older.db")
    await older.open()

    await older.write(step_back)
    await older.open()
    upgraded = await older.read(lambda c: sa.inspect(c).get_columns("audit"))
    assert [(c["name"], str(c["type"]), c["nullable"]) for c in upgraded] == [
        (c["name"], str(c["type"]), c["nullable"]) for c in fresh
    ]
    await append(older, 1)
    await older.close()
