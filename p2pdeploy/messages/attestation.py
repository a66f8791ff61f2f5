"""Attestations: what a host says of itself, one register per (service, host).

One writer per register; readers keep the largest (epoch, seq).  Sent on change only, never as a
heartbeat.  Unknown fields are ignored (``docs/adr/0003``): a newer host may report more.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version

__all__ = ["Attestation", "Rank", "ServiceState"]

ServiceState = Literal[
    "absent",
    "fetching",
    "staged",
    "starting",
    "baking",
    "healthy",
    "failed",
    "rolling-back",
    "stopped",
]

REASON_CHARS_MAX = 160  # keeps an attestation inside one datagram


class Rank(IntEnum):
    """How far a host is with one plan.  In one attempt at it, it only rises."""

    NONE = 0
    ACCEPTED = 1
    STAGED = 2
    STARTED = 3
    HEALTHY = 4
    FAILED = 5
    REGRESSED = 6


class Attestation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="att"):
    """A host's word on one service.

    ``plan_seq``, ``attempt`` and ``rank`` tell how far it is with a plan; the rest tells what
    runs there now: ``version`` and ``digest`` (empty when absent), ``state``, ``port`` on the
    host's own address (0 when nothing listens), ``since`` in seconds since the epoch.
    ``epoch`` is the enrolment number (upper 32 bits) and the persisted boot counter.
    """

    cell: CellId
    host: HostName
    service: ServiceName
    fault_domain: FaultDomain
    epoch: int
    seq: int
    plan_seq: int = 0
    attempt: int = 0
    rank: Rank = Rank.NONE
    state: ServiceState = "absent"
    version: Version = Version("")
    digest: Digest = Digest("")
    port: int = 0
    since: float = 0.0
    reason_code: str = ""
    reason: str = ""
    fetched_bytes: int = 0  # from the network, for the newest staged build
    reused_bytes: int = 0  # copied from older builds on this host
