"""Tokens are used once, numbers only rise, and both survive whoever asks at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from p2pdeploy.ids import HostName
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX
from p2ptracker.storage import enrolment as rows
from p2ptracker.storage import join_tokens, schema
from p2ptracker.storage.database import SqliteDatabase
from p2ptracker.storage.enrolment import Alarm
from p2ptracker.storage.join_tokens import StoredToken
from tests.p2ptracker.storage.older import step_back

H1, H2 = HostName("h1"), HostName("h2")
SECRET = b"d" * 32


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "registry.db")
    await opened.open()
    yield opened
    await opened.close()


def a_token(host: HostName = H1, digest: bytes = SECRET, expires_at: float = 100.0) -> StoredToken:
    return StoredToken(digest=digest, host=host, issued_at=0.0, expires_at=expires_at)


async def put(database: SqliteDatabase, *tokens: StoredToken, now: float = 0.0) -> None:
    await database.write(lambda c: join_tokens.put_tokens(c, tokens, now=now))


async def use(database: SqliteDatabase, digest: bytes, host: HostName, now: float) -> str:
    found = await database.write(lambda c: join_tokens.use_token(c, digest, host, now=now))
    return found[0]


async def test_a_token_is_used_once(database: SqliteDatabase) -> None:
    await put(database, a_token())
    assert await use(database, SECRET, H1, 1.0) == "used"
    assert await use(database, SECRET, H1, 2.0) == "used-before"


async def test_of_many_users_at_once_one_wins(database: SqliteDatabase) -> None:
    await put(database, a_token())
    outcomes: list[str] = []

    async def try_it() -> None:
        outcomes.append(await use(database, SECRET, H1, 1.0))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(try_it)
    assert sorted(outcomes) == ["used", *["used-before"] * 9]


async def test_a_token_of_another_host_is_refused_and_not_used_up(
    database: SqliteDatabase,
) -> None:
    await put(database, a_token())
    assert await use(database, SECRET, H2, 1.0) == "other-host"
    assert await use(database, SECRET, H1, 1.0) == "used"


async def test_an_expired_token_is_refused(database: SqliteDatabase) -> None:
    await put(database, a_token(expires_at=100.0))
    assert await use(database, SECRET, H1, 100.0) == "expired"


async def test_a_new_token_replaces_the_one_that_waits(database: SqliteDatabase) -> None:
    await put(database, a_token())
    await put(database, a_token(digest=b"e" * 32))
    assert await use(database, SECRET, H1, 1.0) == "unknown"
    assert await use(database, b"e" * 32, H1, 1.0) == "used"


async def test_used_tokens_are_forgotten_after_a_month(database: SqliteDatabase) -> None:
    await put(database, a_token())
    await use(database, SECRET, H1, 1.0)
    late = 100.0 + join_tokens.USED_TOKENS_KEPT_S + 1
    await put(database, a_token(H2, b"e" * 32, expires_at=late + 10), now=late)
    assert await use(database, SECRET, H1, late) == "unknown"


async def test_the_enrolment_number_only_rises(database: SqliteDatabase) -> None:
    def enrol(connection: sa.Connection) -> tuple[int, int]:
        known = rows.enrol_anew(connection, H1, enrolment_before=1, public_key=b"k", now=1.0)
        return known.enrolment, known.floor

    def revoke(connection: sa.Connection) -> tuple[int, int]:
        known = rows.revoke_host(connection, H1, enrolment_before=1, reason="lost", now=2.0)
        return known.enrolment, known.floor

    assert await database.write(enrol) == (2, 2)
    assert await database.write(enrol) == (3, 3)
    assert await database.write(revoke) == (3, 4)
    assert await database.write(revoke) == (3, 4), "twice is once"
    assert await database.write(enrol) == (4, 4)


async def test_a_host_that_never_joined_can_be_revoked(database: SqliteDatabase) -> None:
    known = await database.write(
        lambda c: rows.revoke_host(c, H1, enrolment_before=1, reason="", now=1.0)
    )
    assert known.is_revoked
    assert known.floor == 2
    stored = await database.read(rows.stored_refusals)
    assert stored.enrolments == (known,)


async def test_alarms_are_bounded(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ALARMS_KEPT", 3)
    for number in range(5):
        alarm = Alarm(at=float(number), host=H1, code="token-used", message="again")
        await database.write(lambda c, alarm=alarm: rows.add_alarm(c, alarm))
    kept = await database.read(rows.newest_alarms)
    assert [alarm.at for alarm in kept] == [4.0, 3.0, 2.0]


async def test_the_steps_make_the_same_tables_as_a_fresh_database(tmp_path: Path) -> None:
    """An upgraded database must not differ from a new one."""

    def columns(connection: sa.Connection) -> dict[str, list[tuple[str, str, bool]]]:
        found = sa.inspect(connection)
        return {
            table: [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)]
            for table in found.get_table_names()
        }

    fresh = SqliteDatabase(tmp_path / "fresh.db")
    await fresh.open()
    wanted = await fresh.read(columns)

    await fresh.write(step_back)
    await fresh.write(schema.upgrade)
    assert await fresh.read(columns) == wanted
    await fresh.close()


async def test_serials_that_were_revoked_meanwhile_leave_that_much_less_room_to_take_back(
    database: SqliteDatabase,
) -> None:
    def refuse(connection: sa.Connection) -> None:
        for number in range(REFUSED_SERIALS_MAX - 1):
            rows.refuse_serial(connection, f"A{number}", reason="", now=50.0)
        rows.refuse_serial(connection, "EXPIRED", reason="", now=1.0)

    await database.write(refuse)

    async def take_back(*serials: str) -> list[str]:
        return list(
            await database.write(
                lambda c: rows.take_back(c, [], serials, told_since=10.0, now=60.0)
            )
        )

    assert await take_back("B1", "B2") == ["B1"]
    assert await take_back("B2") == []
    stored = await database.read(rows.stored_refusals)
    assert "B1" in stored.serials
    assert "B2" not in stored.serials
