"""The client of the control plane.  Every call is bounded in time and bytes, and binds our address.

No call retries by itself: each caller has its own idea of when to ask again, and goes on without
the control plane meanwhile.  ``UnavailableError`` means exactly that: ask again later.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx2
import msgspec

from p2pdaemon.answers import read_body
from p2pdaemon.control_calls import CALL_TIMEOUT_S, SMALL_BYTES_MAX, Calls, open_calls
from p2pdeploy.codec import UNDECODABLE, decode, encode
from p2pdeploy.errors import IntegrityError, ProtocolError
from p2pdeploy.ids import CellId, Digest, ServiceName, check_service
from p2pdeploy.limits import (
    CHUNK_INDEX_BYTES_MAX,
    FRAME_BYTES_MAX,
    MANIFEST_BYTES_MAX,
)
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.deal import (
    DEAL_REPLY_BYTES_MAX,
    GAP_REPLY_BYTES_MAX,
    DealReply,
    DealRequest,
    GapReply,
    GapRequest,
)
from p2pdeploy.messages.enrolment import CELL_TRUST_BYTES_MAX, CellTrust
from p2pdeploy.messages.gateways import GATEWAYS_BYTES_MAX, Gateways
from p2pdeploy.messages.outline import OUTLINE_REPLY_BYTES_MAX, OutlineReply, OutlineRequest
from p2pdeploy.messages.sync import SyncAnswer, SyncOffer, SyncRequest
from p2pdeploy.topology import Host
from p2pdeploy.trust.releases.limits import BUNDLE_BYTES_MAX
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["ControlPlane", "Offset", "open_control_plane"]

BULK_TIMEOUT_S = 120.0  # a manifest of 64 MiB at 1 MB/s and some; one piece of 16 MiB
CONNECTIONS_MAX = 4  # a held offer, news that goes up, a manifest, one spare
# The loops of two services that are fetched at once; those of a third wait for one of them, which
# is held for some seconds at most.  With the others 12, of 16 that one host may have.
DRAWING_MAX = 8
DEAL_BYTES_MAX = 16 * 1024 * 1024  # the largest piece; several at once are small ones
INVENTORY_BYTES_MAX = 1024 * 1024  # 1,000 hosts of 300 bytes, three times

T = TypeVar("T")


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """Control plane's clock minus ours, and how far off that may be."""

    offset_s: float
    error_s: float


class _Time(msgspec.Struct, frozen=True):
    """Seconds since the epoch, as ``GET /v1/time`` tells them."""

    now: float


class ControlPlane:
    """The control plane, over two pools of connections.  Made by :func:`open_control_plane`.

    Deals are held until it is this host's turn, and several services draw at once: they have
    connections of their own, so that orders and words never wait behind them.
    """

    def __init__(self, calls: Calls, drawing: Calls) -> None:
        self._calls, self._drawing = calls, drawing

    async def measure_offset(self) -> Offset:
        """Ask for the time; the answer was right at some moment between asking and hearing."""
        wall_s, asked_s = time.time(), time.monotonic()
        body = await self._get("/v1/time", bytes_max=SMALL_BYTES_MAX)
        round_trip_s = time.monotonic() - asked_s
        theirs = _from_json(body, _Time)
        half_s = round_trip_s / 2
        return Offset(offset_s=theirs.now - (wall_s + half_s), error_s=half_s)

    async def hosts_of(self, cell: CellId) -> list[Host]:
        """The inventory of *cell*."""
        body = await self._get(f"/v1/cells/{cell}/hosts", bytes_max=INVENTORY_BYTES_MAX)
        return _from_json(body, list[Host])

    async def gateways_of(self, cell: CellId) -> Gateways:
        """With whom the gateways of *cell* exchange pieces."""
        body = await self._get(f"/v1/cells/{cell}/gateways", bytes_max=GATEWAYS_BYTES_MAX)
        return _from_json(body, Gateways)

    async def fetch_bundle(self, service: ServiceName, root_version: int) -> bytes:
        """Signed metadata of a service's releases, for who has that root; unverified.

        Without a service, what says who signs orders.

        Raises:
            TrustError: it is longer than any, or does not say how long it is.
        """
        name = check_service(service) if service else ""
        path = f"/v1/bundles/{name}?root={root_version}"
        try:
            return await self._get(path, bytes_max=BUNDLE_BYTES_MAX)
        except ProtocolError as error:
            raise refused(Attack.ENDLESS_DATA, error.message, where=error.where) from error

    async def fetch_manifest(self, digest: Digest) -> bytes:
        """The manifest's bytes.  Raises IntegrityError when they are not *digest*'s."""
        path = f"/v1/manifests/{digest}"
        return _checked(
            await self._get(path, bytes_max=MANIFEST_BYTES_MAX, timeout_s=BULK_TIMEOUT_S), digest
        )

    async def fetch_chunk_index(self, digest: Digest, chunk_index: Digest) -> bytes:
        """The chunk index of manifest *digest*.  Raises IntegrityError when it is another."""
        path = f"/v1/manifests/{digest}/chunks"
        return _checked(
            await self._get(path, bytes_max=CHUNK_INDEX_BYTES_MAX, timeout_s=BULK_TIMEOUT_S),
            chunk_index,
        )

    async def deal(self, request: DealRequest) -> tuple[DealReply, bytes]:
        """Draw the next pieces.  No bytes unless the reply is a ``Deal``; they are unverified."""
        body = encode(request)
        async with self._drawing.post("/v1/deal", body, timeout_s=BULK_TIMEOUT_S) as answer:
            reply_bytes = _header(answer, "X-Deal")
            pieces = await read_body(answer, DEAL_BYTES_MAX)
        reply: DealReply = decode(reply_bytes, DealReply, bytes_max=DEAL_REPLY_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
        return reply, pieces

    async def fill(self, request: GapRequest) -> tuple[GapReply, bytes]:
        """The bytes of all gaps but those of pieces that are refused, unverified."""
        body = encode(request)
        async with self._drawing.post("/v1/deal/gaps", body, timeout_s=BULK_TIMEOUT_S) as answer:
            reply_bytes = _header(answer, "X-Gaps")
            data = await read_body(answer, DEAL_BYTES_MAX)
        return decode(reply_bytes, GapReply, bytes_max=GAP_REPLY_BYTES_MAX), data

    async def outlines(self, request: OutlineRequest) -> OutlineReply:
        """The outlines of chunks of a release, unverified."""
        body = encode(request)
        async with self._drawing.post("/v1/outlines", body, timeout_s=BULK_TIMEOUT_S) as answer:
            outlines = await read_body(answer, OUTLINE_REPLY_BYTES_MAX)
        return decode(outlines, OutlineReply, bytes_max=OUTLINE_REPLY_BYTES_MAX)

    async def sync(self, cell: CellId, request: SyncRequest) -> SyncAnswer:
        """One half of a delegate's exchange; an offer may be held (``messages/sync.py``)."""
        held_s = request.wait_s if isinstance(request, SyncOffer) else 0.0
        async with self._calls.post(
            f"/v1/cells/{cell}/sync", encode(request), timeout_s=CALL_TIMEOUT_S + held_s
        ) as answer:
            body = await read_body(answer, FRAME_BYTES_MAX)
        return decode(body, SyncAnswer, bytes_max=FRAME_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form

    async def cell_trust(self, cell: CellId) -> CellTrust:
        """Whom to believe in *cell*, and its keys."""
        body = await self._get(f"/v1/cells/{cell}/trust", bytes_max=CELL_TRUST_BYTES_MAX)
        return decode(body, CellTrust, bytes_max=CELL_TRUST_BYTES_MAX)

    async def _get(self, path: str, *, bytes_max: int, timeout_s: float = CALL_TIMEOUT_S) -> bytes:
        async with self._calls.get(path, timeout_s=timeout_s) as answer:
            return await read_body(answer, bytes_max)


@asynccontextmanager
async def open_control_plane(
    api: str, *, context: ssl.SSLContext, address: str
) -> AsyncGenerator[ControlPlane]:
    """A client of *api* that speaks from *address*; closes its connections at the end.

    *context*: what we present, and that it is the control plane we talk to (``client_context``).
    """
    async with (
        open_calls(api, context, address, connections_max=CONNECTIONS_MAX) as calls,
        open_calls(api, context, address, connections_max=DRAWING_MAX) as drawing,
    ):
        yield ControlPlane(calls, drawing)


def _checked(data: bytes, digest: Digest) -> bytes:
    if digest_of(data) != digest:
        raise IntegrityError("the control plane sent bytes with another digest", where=digest)
    return data


def _header(answer: httpx2.Response, name: str) -> bytes:
    """A message in a header."""
    try:
        return base64.b64decode(answer.headers.get(name, ""), validate=True)
    except ValueError as error:
        raise ProtocolError(f"the header {name} is not base64") from error


def _from_json(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        raise ProtocolError(f"undecodable answer: {error}") from error
