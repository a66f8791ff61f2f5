"""What a spread is told of a rollout, and what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName, RolloutId, ServiceName, Version
from p2pdeploy.messages.swarm import SpreadView

__all__ = ["HostFacts", "SpreadRecord", "Spreading"]


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the cell says of one host: it has the release, is alive, and what keeps it."""

    cell: CellId
    staged: bool
    alive: bool
    reason_code: str = ""


class Spreading(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout that is under way, as its cells see it now."""

    rollout: RolloutId
    service: ServiceName
    version: Version
    digest: Digest
    created_at: float
    hosts: Mapping[HostName, HostFacts]


class SpreadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored: the document, and what goes on from it after a restart."""

    view: SpreadView
    origin_peak_bytes_per_s: int = 0
