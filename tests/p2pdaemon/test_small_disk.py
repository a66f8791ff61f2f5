"""Staging on a disk that is too small: a real filesystem, a real swarm session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from p2pdaemon.collector import Collector
from p2pdaemon.config import DaemonConfig
from p2pdaemon.disk import NoRoomError
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.make_room import RoomMaker
from p2pdaemon.release_inventory import ReleaseInventory
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Build
from tests.p2pdaemon.origin import Origin, a_stager, a_tree
from tests.p2pdaemon.small_disk import small_disk
from tests.privileges import needs_root

pytestmark = needs_root

HELLO, OTHER = ServiceName("hello"), ServiceName("other")
MIB = 1 << 20
DISK_MIB = 24
RELEASE_MIB = 8
RESERVE_BYTES = 2 * MIB


@pytest.fixture
def disk(config: DaemonConfig) -> Iterator[Path]:
    with small_disk(config.state_dir, DISK_MIB) as folder:
        yield folder


@pytest.fixture
def small(config: DaemonConfig, disk: Path) -> ReleaseStore:
    return ReleaseStore(disk)


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


def published(origin: Origin, folder: Path, number: int, mib: int = RELEASE_MIB) -> Build:
    data = random.Random(number).randbytes(mib * MIB)
    return origin.publish(a_tree(folder / f"tree-{number}", data), f"1.{number}.0")


def fill(disk: Path, mib: int) -> Path:
    file = disk / "other-data"
    file.write_bytes(bytes(mib * MIB))
    return file


async def test_what_does_not_fit_is_not_begun_and_completes_when_there_is_room(
    config: DaemonConfig, small: ReleaseStore, disk: Path, origin: Origin, tmp_path: Path
) -> None:
    build = published(origin, tmp_path, 1)
    filler = fill(disk, DISK_MIB - RELEASE_MIB)
    room = DiskRoom(disk, RESERVE_BYTES)
    async with a_stager(config, small, origin, room) as stager:
        maker = RoomMaker(stager, ReleaseInventory(small), Collector(), room)
        free = room.usage().free_bytes
        with pytest.raises(NoRoomError) as caught:
            await maker.stage(HELLO, build)
        assert "needs 8.0 MiB of disk" in caught.value.message
        assert origin.dealt_bytes == 0
        assert free - room.usage().free_bytes < MIB, "only what describes it was written"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(maker.wait_room, build, caught.value)
            while not room.usage().waiting:
                await trio.lowlevel.checkpoint()
            filler.unlink()
        await maker.stage(HELLO, build)
    assert small.is_staged(build.digest)
    assert (small.tree(build.digest) / "data").stat().st_size == RELEASE_MIB * MIB


async def test_two_releases_fetched_at_once_never_count_on_the_same_room(
    config: DaemonConfig, small: ReleaseStore, disk: Path, origin: Origin, tmp_path: Path
) -> None:
    """Each fits alone.  One is staged whole, the other is told at once, and the reserve stays."""
    builds = [published(origin, tmp_path, number, 12) for number in (1, 2)]
    room = DiskRoom(disk, RESERVE_BYTES)
    told: list[NoRoomError] = []
    async with a_stager(config, small, origin, room) as stager:

        async def stage(build: Build) -> None:
            try:
                await stager.stage(HELLO, build)
            except NoRoomError as error:
                told.append(error)

        async with trio.open_nursery() as nursery:
            for build in builds:
                nursery.start_soon(stage, build)
    assert sorted(small.is_staged(build.digest) for build in builds) == [False, True]
    assert len(told) == 1
    assert room.usage().free_bytes >= RESERVE_BYTES
    assert room.usage().held_bytes == 0


async def test_an_old_release_makes_room_for_a_new_one_and_what_runs_stays(
    config: DaemonConfig, small: ReleaseStore, disk: Path, origin: Origin, tmp_path: Path
) -> None:
    runs, old, new = (published(origin, tmp_path, number) for number in (1, 2, 3))
    room, collector = DiskRoom(disk, RESERVE_BYTES), Collector()
    async with a_stager(config, small, origin, room) as stager:
        maker = RoomMaker(stager, ReleaseInventory(small), collector, room)
        for build in (runs, old):
            collector.keep(HELLO, frozenset({build.digest}))
            await maker.stage(HELLO, build)
        collector.keep(HELLO, frozenset({runs.digest, old.digest}))
        with pytest.raises(NoRoomError):
            await maker.stage(HELLO, new)
        collector.keep(HELLO, frozenset({runs.digest, new.digest}))
        await maker.stage(HELLO, new)
    assert set(small.digests()) == {runs.digest, new.digest}


async def test_a_fetch_that_is_called_off_gives_its_room_back(
    config: DaemonConfig, small: ReleaseStore, disk: Path, origin: Origin, tmp_path: Path
) -> None:
    build = published(origin, tmp_path, 1, 16)
    room = DiskRoom(disk, RESERVE_BYTES)
    free = room.usage().free_bytes
    async with a_stager(config, small, origin, room) as stager:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stager.stage, HELLO, build)
            while origin.dealt_bytes < MIB:
                await trio.lowlevel.checkpoint()
            assert free - room.usage().free_bytes >= 16 * MIB, "taken before it is written"
            nursery.cancel_scope.cancel()
        assert not small.is_staged(build.digest)
        drawn = origin.dealt_bytes
        assert free - room.usage().free_bytes <= drawn + MIB
        await stager.stage(HELLO, build)
        assert origin.dealt_bytes < 16 * MIB + drawn, "what was fetched was not fetched again"
    assert small.is_staged(build.digest)
