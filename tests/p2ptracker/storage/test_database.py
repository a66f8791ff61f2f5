"""The database: transactions, monotone rows, and what a restart finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from p2pdeploy.errors import ConfigError, RefusedError, UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName, RolloutId, ServiceName, Version
from p2ptracker.storage import schema
from p2ptracker.storage.database import SqliteDatabase
from p2ptracker.storage.observations import Observation, save_observations, stored_observations
from p2ptracker.storage.releases import (
    ChunkPlace,
    ManifestRow,
    announce_hash_known,
    chunk_places,
    find_release,
    forget_chunks,
    insert_release,
    known_blobs,
    list_releases,
)
from p2ptracker.storage.rollouts import (
    RolloutRow,
    StoredOrder,
    cell_record_documents,
    find_rollout,
    list_rollouts,
    open_rollouts,
    save_cell_record,
    save_orders,
    save_rollout,
    stored_orders,
)

CELL = CellId("lab.web.c0")
HELLO = ServiceName("hello")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "registry.db")
    await database.open()
    yield database
    await database.close()


def a_manifest(digit: str) -> ManifestRow:
    return ManifestRow(
        digest=Digest(digit * 64),
        chunk_index=Digest("c" * 64),
        info_hash_v2=digit * 64,
        size_bytes=10,
        file_count=1,
        piece_size_bytes=16384,
    )


def publish(connection: sa.Connection, version: str, digit: str, at: float = 1.0) -> None:
    blob = Digest(digit * 64)
    place = ChunkPlace(blob, 0, 10)
    insert_release(
        connection,
        HELLO,
        Version(version),
        a_manifest(digit),
        {blob: 10},
        [(bytes.fromhex(blob), place)],
        at,
    )


async def test_a_damaged_file_is_told_with_its_name_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"no database" * 400)
    with pytest.raises(UnavailableError, match="damaged") as caught:
        await SqliteDatabase(path).open()
    assert caught.value.code == "database-damaged"
    assert caught.value.where == str(path)
    assert "restore" in caught.value.hint


async def test_a_damaged_page_is_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    whole = SqliteDatabase(path)
    await whole.open()
    await whole.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = SqliteDatabase(path)
    with pytest.raises(UnavailableError, match="damaged"):
        await damaged.read(open_rollouts)
    await damaged.close()


async def test_a_full_disk_is_unavailable_and_passes(database: SqliteDatabase) -> None:
    def fill(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # no page more than there is
        connection.exec_driver_sql("CREATE TABLE filler (data BLOB)")
        connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(1000000))")

    with pytest.raises(UnavailableError, match="full") as caught:
        await database.write(fill)
    assert caught.value.code == "disk-full"

    def free(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        publish(connection, "1", "a")

    await database.write(free)


async def test_a_wrong_statement_is_no_outage(database: SqliteDatabase) -> None:
    with pytest.raises(OperationalError):
        await database.read(lambda c: c.exec_driver_sql("SELECT nothing FROM nowhere"))


async def test_a_failed_transaction_leaves_nothing_behind(database: SqliteDatabase) -> None:
    def work(connection: sa.Connection) -> None:
        publish(connection, "1", "a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(work)
    assert await database.read(lambda c: find_release(c, HELLO, Version("1"))) is None


async def test_other_bytes_under_a_published_version_are_refused(database: SqliteDatabase) -> None:
    await database.write(lambda c: publish(c, "1", "a"))
    with pytest.raises(RefusedError) as refusal:
        await database.write(lambda c: publish(c, "1", "b"))
    assert refusal.value.code == "version-exists"
    release = await database.read(lambda c: find_release(c, HELLO, Version("1")))
    assert release is not None
    assert release.manifest_digest == "a" * 64
    assert not await database.read(lambda c: known_blobs(c, [Digest("b" * 64)]))


async def test_the_same_bytes_may_be_published_again_and_under_two_versions(
    database: SqliteDatabase,
) -> None:
    for version in ("1", "1", "2"):
        await database.write(lambda c, v=version: publish(c, v, "a"))
    listed = await database.read(lambda c: list_releases(c, HELLO, limit=10))
    assert {release.version for release in listed} == {"1", "2"}


async def test_releases_are_listed_newest_first_page_by_page(database: SqliteDatabase) -> None:
    for number in range(5):
        await database.write(lambda c, n=number: publish(c, f"1.{n}", str(n), at=100.0 + n // 2))
    seen: list[str] = []
    after = ""
    while page := await database.read(lambda c, a=after: list_releases(c, HELLO, limit=2, after=a)):
        seen += [release.version for release in page]
        after = seen[-1]
    assert seen == ["1.4", "1.3", "1.2", "1.1", "1.0"]


async def test_a_chunk_is_found_where_it_lies_until_it_is_forgotten(
    database: SqliteDatabase,
) -> None:
    await database.write(lambda c: publish(c, "1", "a"))
    chunk = b"\xaa" * 32
    places = await database.read(lambda c: chunk_places(c, [chunk, b"\xbb" * 32]))
    assert places == {chunk: ChunkPlace(Digest("a" * 64), 0, 10)}
    await database.write(lambda c: forget_chunks(c, [chunk]))
    assert await database.read(lambda c: chunk_places(c, [chunk])) == {}


async def test_only_published_info_hashes_are_known(database: SqliteDatabase) -> None:
    await database.write(lambda c: publish(c, "1", "a"))
    assert await database.read(lambda c: announce_hash_known(c, b"\xaa" * 20))
    assert not await database.read(lambda c: announce_hash_known(c, b"\xbb" * 20))


async def test_an_older_order_never_replaces_a_newer_one(database: SqliteDatabase) -> None:
    def order(version: tuple[int, int]) -> StoredOrder:
        return StoredOrder(cell=CELL, key="go", version=version, envelope=repr(version).encode())

    for version in ((2, 0), (1, 9), (2, 1), (2, 0)):
        await database.write(lambda c, v=version: save_orders(c, [order(v)]))
    assert await database.read(stored_orders) == [order((2, 1))]


async def test_an_observation_is_monotone_by_epoch_then_seq(database: SqliteDatabase) -> None:
    def heard(epoch: int, seq: int) -> Observation:
        return Observation(
            host=HostName("h01"),
            service=HELLO,
            cell=CELL,
            epoch=epoch,
            seq=seq,
            version="1",
            state="healthy",
            seen_at=float(seq),
            envelope=b"",
        )

    for epoch, seq in ((1, 5), (1, 4), (2, 1), (1, 9)):
        await database.write(lambda c, e=epoch, s=seq: save_observations(c, [heard(e, s)]))
    assert await database.read(stored_observations) == [heard(2, 1)]


async def test_open_rollouts_are_found_oldest_first_and_final_ones_only_in_history(
    database: SqliteDatabase,
) -> None:
    def row(number: int, state: str) -> RolloutRow:
        return RolloutRow(
            id=RolloutId(f"r{number}"),
            service=HELLO,
            version=Version("1"),
            state=state,
            is_final=state == "complete",
            created_at=float(number),
            document=b"x",
        )

    for number in (1, 2, 3):
        await database.write(lambda c, n=number: save_rollout(c, row(n, "running")))
    await database.write(lambda c: save_rollout(c, row(2, "complete")))
    assert await database.read(open_rollouts) == [row(1, "running"), row(3, "running")]
    assert await database.read(lambda c: find_rollout(c, RolloutId("r2"))) == row(2, "complete")
    page = await database.read(lambda c: list_rollouts(c, service="hello", limit=2))
    assert [found.id for found in page] == ["r3", "r2"]
    rest = await database.read(lambda c: list_rollouts(c, limit=2, after="r2"))
    assert [found.id for found in rest] == ["r1"]


async def test_of_a_cell_only_the_last_record_is_remembered(database: SqliteDatabase) -> None:
    for document in (b"first", b"second"):
        await database.write(lambda c, d=document: save_cell_record(c, CELL, d))
    assert await database.read(cell_record_documents) == {CELL: b"second"}


async def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "registry.db")
    await database.open()
    newer = schema.VERSION + 1
    await database.write(
        lambda c: c.exec_driver_sql(f"INSERT INTO schema_version VALUES ({newer})").close()
    )
    with pytest.raises(ConfigError) as refusal:
        await database.open()
    assert refusal.value.code == "schema-too-new"
    await database.close()


async def test_an_older_database_takes_the_steps_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(tmp_path / "registry.db")
    await database.open()
    step = ("ALTER TABLE rollouts ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    for _ in range(2):  # the second time there is nothing to do
        await database.open()
    names = await database.read(
        lambda c: {n["name"] for n in sa.inspect(c).get_columns("rollouts")}
    )
    assert "colour" in names
    await database.close()
