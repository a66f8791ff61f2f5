"""Room is made of what nobody needs; what there is no room for waits, says so, and goes on."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pdaemon import make_room
from p2pdaemon.collector import EVICT_UNASKED_S, Collector
from p2pdaemon.disk import NoRoomError
from p2pdaemon.disk_room import LOOK_EVERY_S, RESERVE_BYTES_MAX, DiskRoom, DiskSpace, DiskUsage
from p2pdaemon.make_room import EVICT_LOOK_S, RoomMaker
from p2pdaemon.release_inventory import ReleaseInventory
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.allocate import allocated_bytes

HELLO = ServiceName("hello")
NEW = Build(version=Version("9.9.9"), digest=Digest("99" * 32))
RESERVE_BYTES = 1_000
NEEDED_BYTES = 50_000


class Disk:
    """A disk of which only the free bytes are made up; deleting a release frees its own."""

    def __init__(self, store: ReleaseStore) -> None:
        self.store = store
        self.free_bytes = 0
        self.room = DiskRoom(Path("/store"), RESERVE_BYTES, self._look)
        self.collector = Collector()
        self.staging: frozenset[Digest] = frozenset()
        self.deleted: list[Digest] = []
        self.maker = RoomMaker(self, ReleaseInventory(store), self.collector, self.room)  # type: ignore[arg-type]

    def _look(self, _folder: Path) -> DiskSpace:
        return DiskSpace(total_bytes=10**9, free_bytes=self.free_bytes)

    # What BuildStager does, as far as room is concerned.

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        await trio.lowlevel.checkpoint()
        with self.room.hold(build.digest, NEEDED_BYTES):
            return Staged(service=service, digest=build.digest)

    def in_use(self) -> frozenset[Digest]:
        return self.staging

    async def delete(self, digest: Digest, *, is_kept: Callable[[], bool]) -> bool:
        await trio.lowlevel.checkpoint()
        if is_kept() or digest in self.staging:
            return False
        self.free_bytes += self.size_bytes(digest)
        self.store.remove(digest)
        self.deleted.append(digest)
        return True

    def size_bytes(self, digest: Digest) -> int:
        return allocated_bytes(self.store.root(digest))

    def lacks(self, count: int) -> None:
        """Let so many bytes be missing for NEW."""
        self.free_bytes = RESERVE_BYTES + NEEDED_BYTES - count

    def let_go_of(self, *builds: Build) -> None:
        """The core asked for them and does not any more."""
        kept = frozenset(build.digest for build in builds)
        self.collector.keep(HELLO, kept)
        self.collector.keep(HELLO, frozenset())


@pytest.fixture
def disk(store: ReleaseStore) -> Disk:
    return Disk(store)


async def test_what_was_used_longest_ago_goes_and_no_more_than_needed(
    disk: Disk, store: ReleaseStore, release: Callable[..., Build], set_used: Callable[..., None]
) -> None:
    middle, oldest, newest = release("1.0.0"), release("1.1.0"), release("1.2.0")
    set_used(oldest, 100.0)
    set_used(middle, 200.0)
    set_used(newest, 300.0)
    disk.let_go_of(oldest, middle, newest)
    disk.lacks(disk.size_bytes(oldest.digest) + 1)
    await disk.maker.stage(HELLO, NEW)
    assert disk.deleted == [oldest.digest, middle.digest]
    assert store.digests() == [newest.digest]


async def test_active_rollback_planned_and_linked_releases_are_never_evicted(
    disk: Disk, store: ReleaseStore, release: Callable[..., Build]
) -> None:
    kept, linked, staging = release("1.0.0"), release("1.1.0"), release("1.2.0")
    disk.let_go_of(kept, linked, staging)
    disk.collector.keep(HELLO, frozenset({kept.digest}))
    store.switch(HELLO, linked.digest)
    disk.staging = frozenset({staging.digest})
    disk.lacks(1)
    with pytest.raises(NoRoomError):
        await disk.maker.stage(HELLO, NEW)
    assert disk.deleted == []


async def test_nothing_is_evicted_when_that_would_not_be_enough(
    disk: Disk, release: Callable[..., Build]
) -> None:
    old = release("1.0.0")
    disk.let_go_of(old)
    disk.lacks(disk.size_bytes(old.digest) + 1)
    with pytest.raises(NoRoomError) as caught:
        await disk.maker.stage(HELLO, NEW)
    assert disk.deleted == []
    assert (caught.value.code, caught.value.needed_bytes) == ("disk-full", NEEDED_BYTES)
    assert caught.value.missing_bytes == disk.size_bytes(old.digest) + 1


async def test_a_release_that_an_order_asks_for_meanwhile_is_not_evicted(
    disk: Disk, release: Callable[..., Build], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = release("1.0.0"), release("1.1.0")
    disk.let_go_of(first, second)
    disk.lacks(disk.size_bytes(first.digest) + disk.size_bytes(second.digest))
    delete = disk.delete

    async def delete_and_be_told(digest: Digest, *, is_kept: Callable[[], bool]) -> bool:
        if not disk.deleted:
            disk.collector.keep(HELLO, frozenset({first.digest, second.digest} - {digest}))
        return await delete(digest, is_kept=is_kept)

    monkeypatch.setattr(disk, "delete", delete_and_be_told)
    with pytest.raises(NoRoomError):
        await disk.maker.stage(HELLO, NEW)
    assert len(disk.deleted) == 1


@pytest.fixture
def set_used(store: ReleaseStore) -> Callable[[Build, float], None]:
    """Say when a release was used last."""

    def set_used(build: Build, at: float) -> None:
        os.utime(store.root(build.digest) / "manifest", (at, at))

    return set_used


@asynccontextmanager
async def waiting(disk: Disk, error: Exception) -> AsyncGenerator[trio.Event]:
    """Somebody waits for room for NEW; yields an event that is set when that is over."""
    over = trio.Event()

    async def wait() -> None:
        await disk.maker.wait_room(NEW, error)
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        yield over
        nursery.cancel_scope.cancel()


def no_room(disk: Disk) -> NoRoomError:
    missing = disk.room.missing_bytes(NEW.digest, NEEDED_BYTES)
    return NoRoomError(NEEDED_BYTES, missing, RESERVE_BYTES, where="/store")


async def test_a_fetch_goes_on_within_a_second_of_room(
    disk: Disk, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05  # it looks at the disk in a thread, too
    disk.lacks(1)
    async with waiting(disk, no_room(disk)) as over:
        await trio.sleep(10)
        assert not over.is_set()
        assert disk.room.usage() == DiskUsage(
            free_bytes=RESERVE_BYTES + NEEDED_BYTES - 1,
            reserve_bytes=RESERVE_BYTES,
            held_bytes=0,
            waiting=1,
            needed_bytes=NEEDED_BYTES,
        )
        disk.lacks(0)
        with trio.fail_after(LOOK_EVERY_S + 0.01):
            await over.wait()
    assert disk.room.usage().waiting == 0


async def test_a_fetch_that_is_called_off_waits_no_more(disk: Disk) -> None:
    disk.lacks(1)
    async with waiting(disk, no_room(disk)):
        while not disk.room.usage().waiting:
            await trio.lowlevel.checkpoint()
    assert disk.room.usage().waiting == 0


async def test_room_that_another_release_holds_is_none(
    disk: Disk, autojump_clock: trio.testing.MockClock
) -> None:
    disk.lacks(0)
    with disk.room.hold(Digest("11" * 32), 1):
        with pytest.raises(NoRoomError):
            await disk.maker.stage(HELLO, NEW)
        async with waiting(disk, no_room(disk)) as over:
            await trio.sleep(60)
            assert not over.is_set()
    await disk.maker.stage(HELLO, NEW)


async def test_who_waits_hears_of_releases_that_may_go_by_now(
    disk: Disk,
    release: Callable[..., Build],
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right after a start nobody knows what may go."""
    monkeypatch.setattr(make_room, "boottime_s", trio.current_time)
    old = release("1.0.0")
    disk.lacks(1)
    with pytest.raises(NoRoomError):
        await disk.maker.stage(HELLO, NEW)
    began = trio.current_time()
    async with waiting(disk, no_room(disk)) as over:
        await over.wait()
    assert EVICT_UNASKED_S - 1 <= trio.current_time() - began <= EVICT_UNASKED_S + EVICT_LOOK_S + 1
    await disk.maker.stage(HELLO, NEW)
    assert disk.deleted == [old.digest]


async def test_nobody_waits_for_room_after_another_trouble(disk: Disk) -> None:
    disk.lacks(1)
    await disk.maker.wait_room(NEW, UnavailableError("the control plane is down"))
    await disk.maker.wait_room(NEW, ValueError("a mistake"))


async def test_a_disk_that_was_full_to_the_brim_is_waited_for_until_it_has_its_reserve(
    disk: Disk, autojump_clock: trio.testing.MockClock
) -> None:
    """Not even a manifest could be written, so nobody knows what the release needs."""
    disk.free_bytes = 0
    async with waiting(disk, UnavailableError("the disk is full", code="disk-full")) as over:
        await trio.sleep(60)
        assert not over.is_set()
        disk.free_bytes = RESERVE_BYTES
        await over.wait()


async def test_pruning_deletes_what_nobody_needs_and_nothing_else(
    disk: Disk, store: ReleaseStore, release: Callable[..., Build]
) -> None:
    kept, old = release("1.0.0"), release("1.1.0")
    disk.let_go_of(kept, old)
    disk.collector.keep(HELLO, frozenset({kept.digest}))
    assert [gone.digest for gone in await disk.maker.prune()] == [old.digest]
    assert store.digests() == [kept.digest]
    assert await disk.maker.prune() == []


@pytest.mark.parametrize(
    ("total", "reserve"), [(10**9, 5 * 10**7), (10**13, RESERVE_BYTES_MAX)], ids=["small", "large"]
)
def test_the_reserve_of_a_disk_is_a_twentieth_and_a_gibibyte_at_most(
    total: int, reserve: int
) -> None:
    room = DiskRoom(Path("/store"), None, lambda _: DiskSpace(total_bytes=total, free_bytes=total))
    assert room.usage().reserve_bytes == reserve


def test_a_disk_that_does_not_answer_is_a_disk_error() -> None:
    room = DiskRoom(Path("/there/is/no/such/folder"))
    with pytest.raises(UnavailableError) as caught:
        room.usage()
    assert caught.value.code == "disk-error"


def test_what_is_written_on_a_disk_that_cannot_allocate_counts_once() -> None:
    digest, free, left = Digest("ab" * 32), 1_000, 600
    room = DiskRoom(Path("/store"), 0, lambda _: DiskSpace(total_bytes=2_000, free_bytes=free))
    with room.hold(digest, left):
        with room.following(digest, lambda: left):
            free, left = 600, 200  # 400 were written
            assert room.usage().held_bytes == 200
            assert room.missing_bytes(Digest("cd" * 32), 401) == 1
            left = 50
        assert room.usage().held_bytes == 50, "and what was last known of it stays"
