"""The control plane's part in staging, and a stager over it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.mesh import CellMesh
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import NotFoundError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.deal import Deal, GapReply
from p2pdeploy.messages.orders import Build
from p2pdeploy.messages.outline import OutlineReply
from p2pdeploy.payload.build import Built
from p2pdeploy.payload.build import build as build_payload
from p2pdeploy.payload.outline import outline_of
from p2pdeploy.payload.torrent import PieceSpan, gap_spans, piece_spans
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.holdings import bitset_of
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from tests.p2pdeploy.swarm.swarm_leaves import swarm_identity

__all__ = ["Origin", "a_stager", "a_tree"]

HELLO = ServiceName("hello")


class Origin:
    """The control plane's part in staging, over real releases and a real dealer."""

    def __init__(self) -> None:
        self.down = self.indexes_down = False
        self.forgotten: set[Digest] = set()  # whose chunk index is gone
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

    async def verify(self, service: ServiceName, build: Build) -> ReleaseTarget:
        """What a judge of this origin's releases says."""
        self._ask("bundle")
        built = self._built[build.digest][0]
        return ReleaseTarget.of_manifest(
            service, build.version, built.manifest_bytes, size_bytes=built.manifest.size_bytes
        )

    async def fetch_manifest(self, digest) -> bytes:
        self._ask("manifest")
        return self._built[digest][0].manifest_bytes

    async def fetch_chunk_index(self, digest, chunk_index) -> bytes:
        self._ask("chunks")
        if self.indexes_down:
            raise UnavailableError("no chunk indexes")
        if digest in self.forgotten:
            raise NotFoundError("no such release")
        return self._built[digest][0].chunk_index_bytes

    async def deal(self, request):
        self._ask("deal")
        await trio.lowlevel.checkpoint()
        built, _, dealer = self._built[request.manifest_digest]
        reply = dealer.handle(request, trio.current_time())
        if not isinstance(reply, Deal):
            return reply, b""
        spans = piece_spans(built.manifest)
        partly = bitset_of(request.partly, len(spans)) if request.partly else 0
        pieces = [dealt.piece for dealt in reply.pieces if not partly >> dealt.piece & 1]
        return reply, self._send(built, [spans[piece] for piece in pieces])

    async def fill(self, request):
        await trio.lowlevel.checkpoint()
        built, _, dealer = self._built[request.manifest_digest]
        assert all(
            dealer.take_gaps(request.host, piece) for piece in {gap.piece for gap in request.gaps}
        )
        data = self._send(built, gap_spans(piece_spans(built.manifest), request.gaps))
        return GapReply(), data

    async def outlines(self, request):
        self._ask("outlines")
        sources = self._built[request.manifest_digest][0].sources
        return OutlineReply(
            outlines=tuple(
                outline_of(sources.pread(*msgspec.structs.astuple(chunk)))
                for chunk in request.chunks
            )
        )

    def _send(self, built: Built, spans: list[PieceSpan]) -> bytes:
        data = b"".join(built.sources.pread(*span) for span in spans)
        self.dealt_bytes += len(data)
        return data

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


@asynccontextmanager
async def a_stager(
    config: DaemonConfig, store: ReleaseStore, origin: Origin, room: DiskRoom | None = None
) -> AsyncGenerator[BuildStager]:
    mesh = CellMesh(config.name, tuple)
    with trio.fail_after(30):
        async with Session(config.address, 0, swarm_identity()) as session:
            yield BuildStager(
                config,
                store,
                origin,
                session,
                mesh,
                random.Random(1),
                origin,
                room or DiskRoom(config.state_dir),
            )
