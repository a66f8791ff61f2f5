"""SQLite behind the Database interface: one thread hop is one transaction.

A hop costs about 0.2 ms, so a unit of work is handed over whole, never statement by statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import trio
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from p2pdeploy.errors import UnavailableError
from p2ptracker.storage import schema

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

READERS_MAX = 4  # WAL readers never block each other; more threads than this only fight for cores
# What passes, or once somebody acts: busy, locked, read-only, I/O error, full, cannot open.
# Every other code means that a statement is wrong, which no retry mends.
_PASSING = frozenset({5, 6, 8, 10, 13, 14})
_FULL = 13
_DAMAGED = frozenset({11, 26})  # corrupt, not a database: no retry mends it, a backup does
BUSY_TIMEOUT_MS = 10_000  # only a backup tool or a second process could hold the lock


class SqliteDatabase:
    """A :class:`~p2ptracker.storage.interfaces.Database` in one file.

    SQLite takes one writer at a time, so writers queue in order at a limiter of one instead of
    polling the file lock in threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers = trio.CapacityLimiter(1)
        self._readers = trio.CapacityLimiter(READERS_MAX)
        self._engine = sa.create_engine(
            f"sqlite+pysqlite:///{path}", pool_size=READERS_MAX + 1, max_overflow=0
        )
        event.listen(self._engine, "connect", _prepare)

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self._path}>"

    async def open(self) -> None:
        """Create or upgrade the tables."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.write(schema.upgrade)

    async def close(self) -> None:
        """Close every connection; the last one folds the WAL back into the file."""
        await trio.to_thread.run_sync(self._engine.dispose, limiter=self._writers)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._run, "BEGIN", work, limiter=self._readers)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        # IMMEDIATE takes the write lock first: a reader that turns writer could fail half way.
        return await trio.to_thread.run_sync(
            self._run, "BEGIN IMMEDIATE", work, limiter=self._writers
        )

    def _run(self, begin: str, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self._engine.connect() as connection, connection.begin():
                connection.exec_driver_sql(begin)
                return work(connection)
        except DatabaseError as error:
            told = self._told(error)
            if told is None:
                raise
            raise told from error

    def _told(self, error: DatabaseError) -> UnavailableError | None:
        """What an operator can do something about; None: a statement of ours is wrong."""
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # extended codes lie above
        if code in _DAMAGED:
            return UnavailableError(
                f"the database is damaged: {error.orig}",
                where=str(self._path),
                hint="stop the control plane and restore its tracker/ folder from the backup",
                code="database-damaged",
            )
        if code not in _PASSING:
            return None
        return UnavailableError(
            f"the database cannot be used right now: {error.orig}",
            where=str(self._path),
            hint="free some space" if code == _FULL else "",
            code="disk-full" if code == _FULL else "database-unavailable",
        )


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not open transactions of its own
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")  # readers go on while a writer commits
    # FULL, not NORMAL: a plan number or an ABORT that a power cut takes back would be given twice.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.close()
