"""Attestations: what a host says of itself, one register per (service, host).

One writer per register; readers keep the largest (epoch, seq).  Sent on change only, never as a
heartbeat.  Unknown fields are ignored (``docs/adr/0003``): a newer host may report more.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

import msgspec

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.limits import PREFETCHES_MAX
from p2pdeploy.printable import printable

__all__ = ["DISK_FULL", "Attestation", "Rank", "ReasonText", "ServiceState", "reason_of"]

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

DISK_FULL = "disk-full"
"""``reason_code`` of a host that would fetch, and whose disk has too little room."""

REASON_CHARS_MAX = 160  # keeps an attestation inside one datagram

# Any host may write here, and everybody computes with it and shows it.
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # as databases hold it
_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]  # the year 10,000; no NaN
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Version = Annotated[Version, msgspec.Meta(pattern=r"\A(?:[A-Za-z0-9][A-Za-z0-9.+_-]{0,127})?\Z")]
_Digest = Annotated[Digest, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")]
_Code = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{0,63}\Z")]
ReasonText = Annotated[
    str,
    msgspec.Meta(
        max_length=REASON_CHARS_MAX,
        pattern=r"\A[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*\Z",
    ),
]
"""What is shown on operators' terminals: nothing that a terminal obeys or hides."""


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
    epoch: _Number
    seq: _Number
    plan_seq: _Number = 0
    attempt: _Number = 0
    rank: Rank = Rank.NONE
    state: ServiceState = "absent"
    version: _Version = Version("")
    digest: _Digest = Digest("")
    port: _Port = 0
    since: _Seconds = 0.0
    reason_code: _Code = ""
    reason: ReasonText = ""
    fetched_bytes: _Number = 0  # from the network for the order of plan_seq; a way back adds none
    reused_bytes: _Number = 0  # copied from older builds on this host, for the same
    # Builds that a PREFETCH asks for, and that are whole on this disk.
    prefetched: Annotated[tuple[_Digest, ...], msgspec.Meta(max_length=PREFETCHES_MAX)] = ()


def reason_of(text: str) -> str:
    """*text* as far as an attestation holds it."""
    return printable(text)[:REASON_CHARS_MAX]
