"""Routes that daemons call: time, the hosts of a cell, its gateways, sync, deal, outlines."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import trio
from litestar import Request, Response
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath, RawBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import FRAME_BYTES_MAX
from p2pdeploy.messages.deal import (
    DEAL_REQUEST_BYTES_MAX,
    GAP_REQUEST_BYTES_MAX,
    Deal,
    DealRequest,
    GapRequest,
)
from p2pdeploy.messages.gateways import Gateways
from p2pdeploy.messages.outline import OUTLINE_REQUEST_BYTES_MAX, OutlineRequest
from p2pdeploy.messages.sync import SyncOffer, SyncRequest
from p2pdeploy.topology import Host
from p2pdeploy.trust.identity import HostId
from p2ptracker.api.authorise import peer_in, require_host, require_member
from p2ptracker.api.connected import while_connected
from p2ptracker.api.routes import get, post
from p2ptracker.control_plane import ControlPlane

__all__ = ["TimeView", "cell_handlers"]

_OCTETS = "application/octet-stream"
_MSGPACK = "application/msgpack"


class TimeView(msgspec.Struct, frozen=True, kw_only=True):
    """The control plane's clock in seconds since the epoch; good to half the round trip."""

    now: float


def cell_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""

    @get("/time", "member")
    async def get_time() -> TimeView:
        """What time it is."""
        return TimeView(now=time.time())

    @get("/cells/{cell:str}/hosts", "member")
    async def get_cell_hosts(request: Request[Any, Any, Any], cell: FromPath[str]) -> list[Host]:
        """The inventory of one cell, in name order; a host is told of its own alone."""
        hosts = plane.cells.get(CellId(cell)).hosts
        _require_member(request, hosts)
        return list(hosts.values())

    @get("/cells/{cell:str}/gateways", "member")
    async def get_cell_gateways(request: Request[Any, Any, Any], cell: FromPath[str]) -> Gateways:
        """With whom a cell's gateways exchange pieces; a host is told of its own cell's alone."""
        _require_member(request, plane.cells.get(CellId(cell)).hosts)
        return plane.gateways.links_of(
            CellId(cell), plane.cells.all(), trio.current_time(), plane.standing.is_out
        )

    return [
        get_time,
        get_cell_hosts,
        get_cell_gateways,
        _sync_handler(plane),
        *_deal_handlers(plane),
    ]


def _require_member(request: Request[Any, Any, Any], hosts: Mapping[HostName, Host]) -> None:
    peer = peer_in(request.scope)
    if peer is not None and isinstance(peer.identity, HostId):
        require_member(peer.identity, hosts)


def _sync_handler(plane: ControlPlane) -> ControllerRouterHandler:
    @post("/cells/{cell:str}/sync", "host", media_type=_MSGPACK, body_bytes_max=FRAME_BYTES_MAX)
    async def sync_cell(
        request: Request[Any, Any, Any], cell: FromPath[str], body: RawBody
    ) -> bytes:
        """Make a delegate's replica of the cell and this one equal (messages/sync.py).

        The answer to an offer may wait until there is news for the cell.
        """
        words: SyncRequest = decode(body, SyncRequest, bytes_max=FRAME_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
        require_host(peer_in(request.scope), words.host)
        replica = plane.cells.get(CellId(cell))
        kind = "offer" if isinstance(words, SyncOffer) else "exchange"
        plane.metrics.syncs.labels(cell=cell, kind=kind).inc()
        answer = replica.sync(words, now=trio.current_time(), wall_s=time.time())
        if isinstance(words, SyncOffer) and await while_connected(
            request, partial(plane.held_offers.hold, replica.news, words)
        ):
            answer = replica.answer(words)
        return encode(answer)

    return sync_cell


def _deal_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    @post("/deal", "host", media_type=_OCTETS, body_bytes_max=DEAL_REQUEST_BYTES_MAX)
    async def deal_pieces(request: Request[Any, Any, Any], body: RawBody) -> Response[bytes]:
        """Deal pieces: the reply in the header X-Deal (msgpack, base64), their bytes the body."""
        wanted = decode(body, DealRequest, bytes_max=DEAL_REQUEST_BYTES_MAX)
        require_host(peer_in(request.scope), wanted.host)
        plane.spreads.hear(wanted)  # now: the answer may take seconds
        reply, data = await while_connected(request, partial(plane.origin.deal, wanted))

        async def note_left() -> None:
            if isinstance(reply, Deal):
                plane.origin.note_left(wanted, reply)

        return _with_bytes("X-Deal", encode(reply), data, BackgroundTask(note_left))

    @post("/deal/gaps", "host", media_type=_OCTETS, body_bytes_max=GAP_REQUEST_BYTES_MAX)
    async def fill_gaps(request: Request[Any, Any, Any], body: RawBody) -> Response[bytes]:
        """Send what a host lacks of pieces that it was dealt and has in part.

        X-Gaps says what is refused (msgpack, base64); the bytes of the others are the body.
        """
        wanted = decode(body, GapRequest, bytes_max=GAP_REQUEST_BYTES_MAX)
        require_host(peer_in(request.scope), wanted.host)
        reply, data = await while_connected(request, partial(plane.origin.fill, wanted))
        return _with_bytes("X-Gaps", encode(reply), data)

    @post("/outlines", "host", media_type=_MSGPACK, body_bytes_max=OUTLINE_REQUEST_BYTES_MAX)
    async def outline_chunks(request: Request[Any, Any, Any], body: RawBody) -> bytes:
        """Say which small parts some chunks of a release consist of (messages/outline.py)."""
        wanted = decode(body, OutlineRequest, bytes_max=OUTLINE_REQUEST_BYTES_MAX)
        require_host(peer_in(request.scope), wanted.host)
        return encode(await while_connected(request, partial(plane.origin.outline, wanted)))

    return [deal_pieces, fill_gaps, outline_chunks]


def _with_bytes(
    header: str, reply: bytes, data: bytes, afterwards: BackgroundTask | None = None
) -> Response[bytes]:
    """A reply in *header*, and what follows it as the body; *afterwards* runs when it has left."""
    return Response(
        data,
        headers={header: base64.b64encode(reply).decode()},
        media_type=_OCTETS,
        background=afterwards,
    )
