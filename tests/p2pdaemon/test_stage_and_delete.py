"""Staging and deleting one release exclude each other; a superseded fetch ends."""

from __future__ import annotations

import errno
import random
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.mesh import CellMesh
from p2pdaemon.stage_build import BuildStager
from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.swarm import SourceBytes

HELLO = ServiceName("hello")


class Swarm:
    """A session whose torrents never get a piece."""

    authority_pem = b""  # nobody connects

    def __init__(self) -> None:
        self.here: list[object] = []

    async def add(self, torrent_bytes, paths, have, gaps):
        torrent = SimpleNamespace(received=lambda _members: SourceBytes())

        async def remove() -> None:
            await trio.lowlevel.checkpoint()
            self.here.remove(torrent)

        torrent.remove = remove
        self.here.append(torrent)
        return torrent


class Down:
    """No control plane, and nobody to say what was signed."""

    async def _refuse(self, *_args):
        await trio.lowlevel.checkpoint()
        raise UnavailableError("the control plane is down")

    verify = fetch_manifest = fetch_chunk_index = _refuse


@pytest.fixture
def swarm():
    return Swarm()


@pytest.fixture
def stager(config, store, swarm):
    mesh = CellMesh(config.name, tuple)
    room = DiskRoom(config.state_dir)
    return BuildStager(config, store, Down(), swarm, mesh, random.Random(1), Down(), room)


async def test_a_release_being_deleted_is_not_reported_staged(stager, store, swarm, release):
    build = release("1.0.0")
    await stager.stage(HELLO, build)
    begun, go_on = trio.Event(), trio.Event()
    leave = swarm.here[0].remove

    async def leave_slowly() -> None:
        begun.set()
        await go_on.wait()
        await leave()

    swarm.here[0].remove = leave_slowly
    outcome = []

    async def stage() -> None:
        try:
            outcome.append(await stager.stage(HELLO, build))
        except P2PDeployError as error:
            outcome.append(error)

    async def delete() -> None:
        assert await stager.delete(build.digest, is_kept=lambda: False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(delete)
        await begun.wait()
        nursery.start_soon(stage)
        await trio.testing.wait_all_tasks_blocked(0.05)
        go_on.set()
    assert isinstance(outcome[0], UnavailableError)  # it had to be fetched anew
    assert swarm.here == []
    assert not store.is_staged(build.digest)


async def test_a_release_that_the_core_asked_for_meanwhile_is_not_deleted(
    stager, store, swarm, release
):
    build = release("1.0.0")
    await stager.stage(HELLO, build)
    assert not await stager.delete(build.digest, is_kept=lambda: True)
    assert store.is_staged(build.digest)
    assert len(swarm.here) == 1
    assert await stager.delete(build.digest, is_kept=lambda: False)
    assert swarm.here == []


async def test_a_superseded_fetch_leaves_the_swarm(stager, store, swarm, release, monkeypatch):
    build = release("1.0.0")
    (store.root(build.digest) / "staged").unlink()  # as after a kill before the end
    digest = build.digest
    fetching = trio.Event()

    async def fetch_for_ever(*_args, **_kwargs):
        fetching.set()
        await trio.sleep_forever()

    monkeypatch.setattr("p2pdaemon.fetch_build.fetch_release", fetch_for_ever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stager.stage, HELLO, build)
        await fetching.wait()
        assert len(swarm.here) == 1
        assert stager.in_use() == {digest}
        nursery.cancel_scope.cancel()
    assert swarm.here == []
    assert stager.torrents() == {}
    assert stager.in_use() == frozenset()


async def test_a_release_that_cannot_be_read_does_not_keep_the_others_from_being_seeded(
    stager, store, swarm, release, monkeypatch
):
    broken, whole = release("1.0.0"), release("1.1.0")
    read = store.read_manifest

    def read_manifest(digest):
        if digest == broken.digest:
            raise OSError(errno.EIO, "Input/output error")
        return read(digest)

    monkeypatch.setattr(store, "read_manifest", read_manifest)
    await stager.seed_all()
    assert len(swarm.here) == 1
    assert await stager.delete(whole.digest, is_kept=lambda: False)
    assert swarm.here == []


async def test_a_store_that_cannot_be_listed_ends_nothing(stager, store, swarm, monkeypatch):
    def digests():
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store, "digests", digests)
    await stager.seed_all()
    assert swarm.here == []
