"""A build comes onto the disk whole, from the origin and from what is here, and stays."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon import fetch_build, keep_indexes
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.manifest import BlobChunks, ChunkIndex, digest_of
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.build import build as build_payload
from tests.p2pdaemon.origin import Origin, a_stager, a_tree

HELLO = ServiceName("hello")
DATA = random.Random(1).randbytes(4 * 1024 * 1024)


@pytest.fixture
def origin():
    made = Origin()
    yield made
    made.close()


@pytest.fixture
def build(origin: Origin, tmp_path: Path) -> Build:
    return origin.publish(a_tree(tmp_path / "old", DATA), "1.0.0")


async def test_a_build_is_staged_whole_and_each_byte_drawn_once(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        staged = await stager.stage(HELLO, build)
        assert stager.torrents()[build.digest].complete, "and seeded"
        assert stager.in_use() == frozenset()
    assert store.is_staged(build.digest)
    assert (store.tree(build.digest) / "data").read_bytes() == DATA
    assert staged.fetched_bytes == origin.dealt_bytes
    assert staged.fetched_bytes == store.read_manifest(build.digest).size_bytes


async def test_a_chunk_index_that_does_not_fit_is_refused_though_it_was_signed(
    config, store, origin, build, tmp_path
):
    """Else it would say where on a host's disk what an older release has is copied to."""
    built = build_payload(a_tree(tmp_path / "far", DATA), HELLO)
    first, *others = built.chunk_index.blobs
    far = BlobChunks(first.digests, (1 << 60, *first.sizes_bytes[1:]))
    index = ChunkIndex((far, *others)).to_bytes()
    manifest = msgspec.structs.replace(
        built.manifest, chunk_index=digest_of(index), chunk_index_bytes=len(index)
    )
    lying = built._replace(
        manifest=manifest,
        manifest_bytes=manifest.to_bytes(),
        manifest_digest=digest_of(manifest.to_bytes()),
        chunk_index_bytes=index,
    )
    lies = origin.publish_built(lying, "6.6.6")
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        with pytest.raises(IntegrityError, match="chunk"):
            await stager.stage(HELLO, lies)
    assert store.read_chunk_index(lies.digest, manifest) is None


async def test_the_first_release_of_a_host_comes_without_its_chunk_index(
    config, store, origin, build
):
    """The origin would send it to every host, and there is nothing here to find by it."""
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
    assert origin.asked["chunks"] == 0


async def test_the_chunk_index_comes_afterwards_for_the_next_release(
    config, store, origin, build, monkeypatch
):
    monkeypatch.setattr(keep_indexes, "FIRST_S", 0.01)
    origin.indexes_down = True
    async with a_stager(config, store, origin) as stager, trio.open_nursery() as nursery:
        nursery.start_soon(stager.keep_indexes)
        await stager.stage(HELLO, build)
        while origin.asked["chunks"] < 2:
            await trio.lowlevel.checkpoint()
        origin.indexes_down = False
        while store.without_chunk_index():
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert store.read_chunk_index(build.digest, store.read_manifest(build.digest)) is not None


async def test_an_older_release_whose_index_does_not_come_is_not_copied_from(
    config, store, origin, build, tmp_path
):
    later = origin.publish(a_tree(tmp_path / "new", DATA + b"more"), "1.1.0")
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        origin.forgotten.add(build.digest)
        staged = await stager.stage(HELLO, later)
    assert staged.reused_bytes == 0
    assert (store.tree(later.digest) / "data").read_bytes() == DATA + b"more"


async def test_what_is_staged_needs_no_control_plane_any_more(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
    origin.down = True
    origin.asked.clear()
    async with a_stager(config, store, origin) as stager:
        await stager.seed_all()
        assert stager.torrents()[build.digest].complete
        staged = await stager.stage(HELLO, build)
    assert (staged.fetched_bytes, staged.reused_bytes) == (0, 0)
    assert not origin.asked


async def test_only_what_changed_is_drawn_for_the_next_version(
    config, store, origin, build, tmp_path
):
    changed = DATA[:1_000_000] + b"inserted" + DATA[1_000_000:]
    later = origin.publish(a_tree(tmp_path / "new", changed), "1.1.0")
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        origin.dealt_bytes = 0
        staged = await stager.stage(HELLO, later)
    assert (store.tree(later.digest) / "data").read_bytes() == changed
    assert staged.fetched_bytes == origin.dealt_bytes
    assert 0 < origin.dealt_bytes < 8 * 1024, "a few parts of a chunk"
    assert staged.reused_bytes + origin.dealt_bytes == store.read_manifest(later.digest).size_bytes


async def test_without_outlines_a_changed_chunk_is_drawn_whole(
    config, store, origin, build, tmp_path, monkeypatch
):
    changed = DATA[:1_000_000] + b"inserted" + DATA[1_000_000:]
    later = origin.publish(a_tree(tmp_path / "new", changed), "1.1.0")

    async def refuse(request):
        raise UnavailableError("no outlines")

    monkeypatch.setattr(origin, "outlines", refuse)
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        origin.dealt_bytes = 0
        await stager.stage(HELLO, later)
    assert (store.tree(later.digest) / "data").read_bytes() == changed
    assert 16 * 1024 < origin.dealt_bytes < 512 * 1024


async def test_what_another_service_has_is_not_drawn(config, store, origin, build, tmp_path):
    other = a_tree(tmp_path / "other", DATA)
    (other / "service.toml").write_text(
        (other / "service.toml").read_text().replace('"hello"', '"other"')
    )
    later = origin.publish_built(build_payload(other, ServiceName("other")), "1.0.0")
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        origin.dealt_bytes = 0
        staged = await stager.stage(ServiceName("other"), later)
        assert stager.reused.copied_bytes + stager.reused.shared_bytes == staged.reused_bytes
    assert staged.reused_bytes >= len(DATA)
    assert origin.dealt_bytes < 64 * 1024, "service.toml alone"


async def test_a_fetch_that_was_called_off_goes_on_where_it_was(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stager.stage, HELLO, build)
            while origin.dealt_bytes < len(DATA) / 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert not store.is_staged(build.digest)
        assert stager.in_use() == frozenset()
        drawn = origin.dealt_bytes
        staged = await stager.stage(HELLO, build)
    assert store.is_staged(build.digest)
    assert staged.fetched_bytes < store.read_manifest(build.digest).size_bytes
    assert origin.dealt_bytes > drawn


async def test_a_build_of_another_service_is_refused(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        with pytest.raises(IntegrityError):
            await stager.stage(ServiceName("other"), build)


async def test_without_the_control_plane_a_new_build_waits_and_nothing_is_kept_of_it(
    config, store, origin, build
):
    origin.down = True
    async with a_stager(config, store, origin) as stager:
        with pytest.raises(UnavailableError):
            await stager.stage(HELLO, build)
        assert stager.in_use() == frozenset()
    assert store.digests() == []


def damage(store: ReleaseStore, build: Build) -> None:
    """Replace one file of the staged tree, as another process of the daemon's user could."""
    file = store.tree(build.digest) / "data"
    file.parent.chmod(0o755)
    file.unlink()
    file.write_bytes(DATA[:-1] + b"x")
    file.chmod(0o444)
    file.parent.chmod(0o555)


async def test_a_tree_that_differs_is_staged_anew_from_scratch(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        damage(store, build)
        await stager.restage(HELLO, build)
        store.verify(build.digest)
        assert (store.tree(build.digest) / "data").read_bytes() == DATA
        assert stager.torrents()[build.digest].complete, "and seeded"
        assert stager.in_use() == frozenset()
    assert origin.asked["manifest"] == 1, "what describes it is checked by digest, so it stays"


async def test_an_order_to_stage_finds_a_tree_that_differs(config, store, origin, build):
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        damage(store, build)
        await stager.stage(HELLO, build)
        store.verify(build.digest)


async def test_a_tree_that_a_service_is_linked_to_is_not_taken_from_under_it(
    config, store, origin, build
):
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        store.switch(HELLO, build.digest)
        damage(store, build)
        await stager.stage(HELLO, build)
        assert (store.tree(build.digest) / "data").read_bytes() != DATA
    with pytest.raises(IntegrityError, match="data: does not have its digest"):
        store.verify(build.digest)


async def test_a_restaging_waits_for_the_staging_under_way(config, store, origin, build):
    """Two that write one release would undo each other's work."""
    async with a_stager(config, store, origin) as stager:
        await stager.stage(HELLO, build)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(stager.restage, HELLO, build)
                nursery.start_soon(stager.stage, HELLO, build)
        store.verify(build.digest)
        assert stager.torrents()[build.digest].complete


async def test_a_disk_that_cannot_allocate_has_its_room_counted_once(
    config, store, origin, build, monkeypatch: pytest.MonkeyPatch
):
    """Else what is written would count as taken on the disk, and as held in the books."""
    room, held_bytes, stage_finish = DiskRoom(config.state_dir), [], fetch_build.stage.finish

    def finish(*args: object) -> None:
        held_bytes.append(room.usage().held_bytes)
        stage_finish(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(fetch_build, "allocate", lambda *_: False)
    monkeypatch.setattr(fetch_build.stage, "finish", finish)
    async with a_stager(config, store, origin, room) as stager:
        await stager.stage(HELLO, build)
    assert store.is_staged(build.digest)
    assert held_bytes[0] < len(DATA) // 2
