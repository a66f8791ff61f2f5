"""A build comes onto the disk whole, from the origin and from what is here, and stays."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.judge_bundle import SignedRelease
from p2pdaemon.mesh import Mesh
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError, UnavailableError
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.manifest import BlobChunks, ChunkIndex, digest_of
from p2pdeploy.messages.deal import Deal
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.build import Built
from p2pdeploy.payload.build import build as build_payload
from p2pdeploy.payload.torrent import piece_spans
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.session import Session
from tests.p2pdeploy.swarm.swarm_leaves import swarm_identity

HELLO = ServiceName("hello")
DATA = random.Random(1).randbytes(4 * 1024 * 1024)


class Origin:
    """The control plane's part in staging, over real releases and a real dealer."""

    def __init__(self) -> None:
        self.down = False
        self.asked: Counter[str] = Counter()
        self.dealt_bytes = 0
        self._built: dict[str, tuple[Built, Version, Dealer]] = {}

    def publish(self, tree: Path, version: str) -> Build:
        return self.publish_built(build_payload(tree, HELLO), version)

    def publish_built(self, built: Built, version: str) -> Build:
        spans = piece_spans(built.manifest)
        dealer = Dealer([span.size_bytes for span in spans])
        self._built[built.manifest_digest] = (built, Version(version), dealer)
        return Build(version=Version(version), digest=built.manifest_digest)

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        if self.down:
            raise UnavailableError("the control plane is down")

    async def verify(self, service: ServiceName, build: Build) -> SignedRelease:
        """What a judge of this origin's releases says."""
        self._ask("bundle")
        built = self._built[build.digest][0]
        return SignedRelease(
            manifest_digest=built.manifest_digest,
            manifest_sha256=hashlib.sha256(built.manifest_bytes).hexdigest(),
            manifest_bytes=len(built.manifest_bytes),
            size_bytes=built.manifest.size_bytes,
        )

    async def fetch_manifest(self, digest) -> bytes:
        self._ask("manifest")
        return self._built[digest][0].manifest_bytes

    async def fetch_chunk_index(self, digest, chunk_index) -> bytes:
        self._ask("chunks")
        return self._built[digest][0].chunk_index_bytes

    async def deal(self, request):
        self._ask("deal")
        await trio.lowlevel.checkpoint()
        built, _, dealer = self._built[request.manifest_digest]
        reply = dealer.handle(request, trio.current_time())
        if not isinstance(reply, Deal):
            return reply, b""
        self.dealt_bytes += reply.size_bytes
        return reply, built.sources.pread(*piece_spans(built.manifest)[reply.piece])

    def close(self) -> None:
        for built, _, _ in self._built.values():
            built.sources.close()


def a_tree(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    (folder / "service.toml").write_text(
        '[service]\nname = "hello"\n[run]\ncommand = ["true"]\n[health]\ntcp = "$HOST:$PORT"\n'
    )
    (folder / "data").write_bytes(data)
    return folder


@pytest.fixture
def origin():
    made = Origin()
    yield made
    made.close()


@pytest.fixture
def build(origin: Origin, tmp_path: Path) -> Build:
    return origin.publish(a_tree(tmp_path / "old", DATA), "1.0.0")


@asynccontextmanager
async def a_stager(
    config: DaemonConfig, store: ReleaseStore, origin: Origin
) -> AsyncGenerator[BuildStager]:
    mesh = Mesh(config.name, tuple)
    with trio.fail_after(30):
        async with Session(config.address, 0, swarm_identity()) as session:
            yield BuildStager(config, store, origin, session, mesh, random.Random(1), origin)


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
    config, store, origin, tmp_path
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
    build = origin.publish_built(lying, "6.6.6")
    async with a_stager(config, store, origin) as stager:
        with pytest.raises(IntegrityError, match="chunk"):
            await stager.stage(HELLO, build)
    assert store.read_chunk_index(build.digest, manifest) is None


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
    assert 0 < origin.dealt_bytes < len(changed) / 4
    assert staged.reused_bytes + origin.dealt_bytes >= store.read_manifest(later.digest).size_bytes


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
