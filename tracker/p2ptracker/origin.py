"""The origin: one dealer per (release, target), and the bytes by range from the blob store.

It never speaks the peer protocol.  What a dealer knows is soft: it is rebuilt from the bitmaps
that come with every request, so dealers are dropped when idle and lost with the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import trio
from prometheus_client import CollectorRegistry, Counter, Gauge

from p2pdeploy.errors import ProtocolError, RefusedError, TrustError
from p2pdeploy.ids import CellId, Digest, target_of
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.deal import (
    DEAL_PIECES_MAX,
    Deal,
    DealReply,
    DealRequest,
    GapReply,
    GapRequest,
    WaitDeal,
)
from p2pdeploy.messages.outline import OutlineReply, OutlineRequest
from p2pdeploy.payload.torrent import PieceSpan, gap_spans, piece_spans
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig, DealStatistics
from p2pdeploy.swarm.holdings import bitmap_has
from p2ptracker.dealer_room import OpenDealer, dealers_to_drop
from p2ptracker.drawing_hosts import DrawingHosts
from p2ptracker.held_dealer import HeldDealer
from p2ptracker.outliner import Outliner
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import manifest_row, published_at

__all__ = ["DealtRelease", "Origin"]

DEALERS_MAX = (
    64  # each holds bitmaps of up to DEALER_HOSTS_MAX hosts; more releases at once is an attack
)
IDLE_S = 600.0  # hosts that fetch ask every 2 s at least
DEALT_MAX = (
    1_024  # releases whose egress, and dealers that are remembered; somebody looks at the last few
)
READERS_MAX = 4  # blob reads are memory copies out of the page cache, or one disk's queue
RESTART_SETTLE_S = (
    1.0  # hosts ask twice within it, so each one's bitmap is in before the first deal
)


class DealtRelease(msgspec.Struct, frozen=True, kw_only=True):
    """What left the origin for one release since this process started.

    Only the ``DEALT_MAX`` releases that were dealt last are known; others show 0.
    """

    manifest_digest: Digest
    dealt_bytes: int
    size_bytes: int


class _Table:
    """One dealer and what it needs to answer."""

    def __init__(self, manifest: Manifest, config: DealConfig) -> None:
        self.blobs = [blob.digest for blob in manifest.blobs]
        self.sizes = [blob.size_bytes for blob in manifest.blobs]
        self.spans: list[PieceSpan] = piece_spans(manifest)
        self.dealer = HeldDealer(Dealer([span.size_bytes for span in self.spans], config))
        self.used_at = 0.0


class Origin:
    """Deals the pieces of every release to every cell: once to all cells of one target.

    A target is an environment and a machine function; its cells exchange pieces with each other.

    Args:
        database: Knows which manifests are published.
        store: Holds their bytes.
        is_host: Whether a host name belongs to a cell.
        metrics: Where the origin's figures are registered.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        is_host: Callable[[CellId, str], bool],
        metrics: CollectorRegistry,
    ) -> None:
        self._database = database
        self._store = store
        self._is_host = is_host
        self._tables: dict[tuple[Digest, str], _Table] = {}
        self._dealt_bytes: dict[Digest, int] = {}  # dealt last, stands last
        self._opened: dict[tuple[Digest, str], None] = {}  # every dealer there was; last ones last
        # What was published before may have been dealt by a dealer that nobody remembers.
        self._remembers_since = time.time()
        self._drawing = DrawingHosts()
        self._opening = trio.Lock()
        self._readers = trio.CapacityLimiter(READERS_MAX)
        self._outliner = Outliner(store)
        self._bytes_counter = Counter(
            "p2p_origin_dealt_bytes", "Piece bytes sent to hosts", registry=metrics
        )
        self._deals_counter = Counter(
            "p2p_origin_replies", "Answers to deal requests", ["kind"], registry=metrics
        )
        Gauge(
            "p2p_origin_dealers", "Open (release, target) dealers", registry=metrics
        ).set_function(lambda: len(self._tables))

    def __repr__(self) -> str:
        return f"<Origin {len(self._tables)} dealers>"

    async def deal(self, request: DealRequest) -> tuple[DealReply, bytes]:
        """Answer one deal request of the host that it names, as the caller has made sure.

        Returns:
            The reply, and when it is a ``Deal`` the bytes of those of its pieces that the host has
            nothing of (empty otherwise).

        Raises:
            TrustError: the host is not in that cell.
            ProtocolError: it does not fit the release.
            NotFoundError: no such release.
            UnavailableError: the dealer's table is full of live hosts.
        """
        table = await self._table_for(request)
        reply = await table.dealer.draw(request)
        table.used_at = trio.current_time()
        drawing = self._drawing.note(
            request.cell, request.host, table.used_at, draws=not request.completed
        )
        if isinstance(reply, Deal | WaitDeal):
            reply = msgspec.structs.replace(reply, drawing=min(drawing, CELL_HOSTS_MAX))
        self._deals_counter.labels(kind=type(reply).__name__).inc()
        if not isinstance(reply, Deal):
            return reply, b""
        partly = request.partly
        spans = [
            table.spans[dealt.piece]
            for dealt in reply.pieces
            if not partly or not bitmap_has(partly, dealt.piece)
        ]
        return reply, await self._send(request.manifest_digest, table, spans)

    def note_left(self, request: DealRequest, deal: Deal) -> None:
        """The bytes of *deal*, the answer to *request*, have left."""
        table = self._tables.get((request.manifest_digest, target_of(request.cell)))
        if table is not None:
            table.dealer.note_left(request.host, deal.pieces[0].piece)

    async def fill(self, request: GapRequest) -> tuple[GapReply, bytes]:
        """The gaps of pieces that are on their way to that host.

        Returns:
            Which of the pieces are refused: they are not on their way to it (any more: perhaps it
            has them from a neighbour by now), or their gaps were sent already.  And the bytes of
            the gaps of the others.

        Raises:
            TrustError: the host is not in that cell.
            ProtocolError: a gap is none of its piece, or there are more pieces than in a deal.
            RefusedError: none of the pieces is on its way to it.
            NotFoundError: no such release.
        """
        table = await self._table_for(request)
        spans = gap_spans(table.spans, request.gaps)
        pieces = sorted({gap.piece for gap in request.gaps})
        if len(pieces) > DEAL_PIECES_MAX:
            raise ProtocolError(f"gaps of {len(pieces)} pieces, a deal has {DEAL_PIECES_MAX}")
        core = table.dealer.core
        refused = tuple(piece for piece in pieces if not core.take_gaps(request.host, piece))
        if len(refused) == len(pieces):
            raise RefusedError(
                "no such piece was dealt to you, or their gaps were sent", code="not-dealt"
            )
        wanted = [
            span for gap, span in zip(request.gaps, spans, strict=True) if gap.piece not in refused
        ]
        data = await self._send(request.manifest_digest, table, wanted)
        return GapReply(refused=refused), data

    async def outline(self, request: OutlineRequest) -> OutlineReply:
        """Cut chunks of a release for a host that has something of them.

        Raises:
            TrustError: the host is not in that cell.
            ProtocolError: the release has no such chunk.
            NotFoundError: no such release.
            UnavailableError: the host was not answered yet what it asked before.
        """
        table = await self._table_for(request)
        for chunk in request.chunks:
            known = chunk.blob_index < len(table.blobs)
            if not known or chunk.offset_bytes + chunk.size_bytes > table.sizes[chunk.blob_index]:
                raise ProtocolError(f"no chunk of this release: {chunk}")
        ranges = [
            (table.blobs[chunk.blob_index], chunk.offset_bytes, chunk.size_bytes)
            for chunk in request.chunks
        ]
        return OutlineReply(outlines=tuple(await self._outliner.outline(request.host, ranges)))

    async def _send(self, digest: Digest, table: _Table, spans: list[PieceSpan]) -> bytes:
        """Read and count what leaves the origin."""
        data = await trio.to_thread.run_sync(self._read, table, spans, limiter=self._readers)
        self._bytes_counter.inc(len(data))
        self._note_dealt(digest, len(data))
        return data

    def _note_dealt(self, digest: Digest, size_bytes: int) -> None:
        self._dealt_bytes[digest] = self._dealt_bytes.pop(digest, 0) + size_bytes
        if len(self._dealt_bytes) > DEALT_MAX:
            del self._dealt_bytes[next(iter(self._dealt_bytes))]

    async def dealt(self, digest: Digest) -> DealtRelease:
        """The egress of one release; raises NotFoundError."""
        row = await self._database.read(lambda connection: manifest_row(connection, digest))
        return DealtRelease(
            manifest_digest=digest,
            dealt_bytes=self._dealt_bytes.get(digest, 0),
            size_bytes=row.size_bytes,
        )

    def statistics(self) -> dict[tuple[Digest, str], DealStatistics]:
        """A snapshot of every open dealer."""
        return {key: table.dealer.core.statistics() for key, table in self._tables.items()}

    def _read(self, table: _Table, spans: list[PieceSpan]) -> bytes:
        return b"".join(
            self._store.read(table.blobs[span.blob_index], span.offset_bytes, span.size_bytes)
            for span in spans
        )

    async def _table_for(self, request: DealRequest | GapRequest | OutlineRequest) -> _Table:
        """What answers *request*; raises TrustError, NotFoundError."""
        if not self._is_host(request.cell, request.host):
            raise TrustError(f"{request.host!r} is not a host of {request.cell!r}")
        table = await self._table(request.manifest_digest, target_of(request.cell))
        table.used_at = trio.current_time()
        return table

    async def _table(self, digest: Digest, target: str) -> _Table:
        table = self._tables.get((digest, target))
        if table is not None:
            return table
        async with self._opening:
            return self._tables.get((digest, target)) or await self._open(digest, target)

    async def _open(self, digest: Digest, target: str) -> _Table:
        published = await self._database.read(lambda connection: published_at(connection, digest))
        # A dealer that was lost knows nothing, its hosts do: hear them all before dealing.
        was_lost = (digest, target) in self._opened or published < self._remembers_since
        config = DealConfig(settle_s=RESTART_SETTLE_S if was_lost else 0.0)
        table = await trio.to_thread.run_sync(
            _load_table, self._store, digest, config, limiter=self._readers
        )
        self._make_room(target, trio.current_time())
        self._tables[digest, target] = table
        self._note_opened(digest, target)
        return table

    def _note_opened(self, digest: Digest, target: str) -> None:
        self._opened.pop((digest, target), None)
        self._opened[digest, target] = None
        if len(self._opened) > DEALT_MAX:
            del self._opened[next(iter(self._opened))]
            self._remembers_since = time.time()

    def _make_room(self, target: str, now: float) -> None:
        """Drop dealers until there is room for another one of *target*."""
        open_dealers = [
            OpenDealer(key, now if table.dealer.is_waited_for else table.used_at)
            for key, table in self._tables.items()
        ]
        for key in dealers_to_drop(
            open_dealers, target, open_max=DEALERS_MAX, idle_since=now - IDLE_S
        ):
            self._tables.pop(key).dealer.close()


def _load_table(store: BlobStore, digest: Digest, config: DealConfig) -> _Table:
    return _Table(Manifest.from_bytes(store.get_object("manifest", digest)), config)
