"""Documents of ``/v1/prefetches``: bytes that are brought to hosts ahead of a rollout."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName, ServiceName, Version
from p2pdeploy.limits import PREFETCH_KEEP_MAX_S, PREFETCH_KEEP_S
from p2pdeploy.messages.api import Document

__all__ = ["PrefetchHost", "PrefetchRequest", "PrefetchView"]


class PrefetchRequest(Document, frozen=True, forbid_unknown_fields=True):
    """What ``prefetch`` sends.  ``keep_s``: how long hosts keep what no rollout asks for."""

    service: ServiceName
    version: Version
    environment: str = ""
    machine_function: str = ""
    hosts: tuple[HostName, ...] = ()
    keep_s: Annotated[float, msgspec.Meta(gt=0, le=PREFETCH_KEEP_MAX_S)] = PREFETCH_KEEP_S


class PrefetchHost(Document, frozen=True):
    """How far one host is.  ``reason_code`` and ``reason``: what keeps it, as it says itself."""

    host: HostName
    cell: CellId
    staged: bool
    reason_code: str = ""
    reason: str = ""


class PrefetchView(Document, frozen=True):
    """One build that is prefetched.

    ``rollout`` is the rollout that waits for signatures and asked for it; empty when a person did.
    ``staged`` of ``total`` hosts have all of it.  A list of prefetches leaves ``hosts`` out.
    """

    service: ServiceName
    version: Version
    manifest_digest: Digest
    expires_at: datetime
    rollout: str
    cells: list[CellId]
    total: int
    staged: int
    hosts: tuple[PrefetchHost, ...] = ()
