"""Lab mode: v1 torrents that public clients can read, registered at the announce endpoint."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from p2ptracker.api.routes import post
from p2ptracker.control_plane import ControlPlane

__all__ = ["LabTorrent", "lab_handlers"]


class LabTorrent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``info_hash``: 40 hexadecimal digits, the SHA-1 of a v1 torrent's info."""

    info_hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")]


def lab_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""

    @post("/lab/torrents", "admin")
    async def register_torrent(data: JSONBody[LabTorrent]) -> LabTorrent:
        """Let the announce endpoint track a v1 torrent; refused outside lab mode."""
        plane.lab.add(bytes.fromhex(data.info_hash))
        return data

    return [register_torrent]
