"""The HTTP API's documents, as ``p2pctl -o json`` prints them.

Stable: scripts rely on these names.  ``docs/reference/`` holds their JSON Schemas, generated from
here.  Times are RFC 3339 in UTC, durations are seconds as numbers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, RolloutId, ServiceName, Version
from p2pdeploy.messages.attestation import ServiceState
from p2pdeploy.messages.swarm import SwarmView

__all__ = [
    "ErrorBody",
    "FaultDomainView",
    "HostView",
    "PlannedCell",
    "PlannedFaultDomain",
    "PublishBegun",
    "Reason",
    "ReleaseState",
    "ReleaseView",
    "RolloutHost",
    "RolloutPlanView",
    "RolloutRequest",
    "RolloutState",
    "RolloutView",
    "ServiceView",
    "VersionsView",
    "WhereRow",
]

RolloutState = Literal[
    "unsigned",
    "planned",
    "running",
    "paused",
    "rolling-back",
    "complete",
    "rolled-back",
    "failed",
    "aborted",
]
FINAL_STATES: frozenset[RolloutState] = frozenset({"complete", "rolled-back", "failed", "aborted"})


ReleaseState = Literal["pending", "signed"]
"""``signed``: hosts accept it.  ``pending``: too few of its publishers have signed it yet."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all documents: immutable, fields by name."""


class ErrorBody(Document, frozen=True):
    """The body of every refusal, inside ``{"error": ...}``."""

    code: str
    message: str
    where: str = ""
    hint: str = ""


class ErrorDocument(Document, frozen=True):
    error: ErrorBody


class Reason(Document, frozen=True):
    """Why something is as it is.  ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    host: str = ""
    fault_domain: str = ""


class ServiceView(Document, frozen=True):
    """One service on one host.  ``address`` is the host:port it serves on, or empty."""

    service: ServiceName
    version: str
    state: ServiceState
    address: str
    since: datetime | None
    age_s: float | None  # seconds since the fact reached the control plane
    reason: str = ""


class HostView(Document, frozen=True):
    """One host.  Of one that is ``revoked`` or not ``alive``, ``services`` are its last word.

    ``*_limit_bytes_per_s``: the rate limit that it was told; None is unlimited.
    """

    name: HostName
    address: str
    environment: str
    machine_function: str
    cell: CellId
    fault_domain: FaultDomain
    alive: bool
    services: list[ServiceView]
    revoked: bool = False
    download_limit_bytes_per_s: int | None = None
    upload_limit_bytes_per_s: int | None = None


class VersionsView(Document, frozen=True):
    """How many hosts run which version; ``unknown``: in the inventory, never reported."""

    service: ServiceName
    versions: dict[str, int]
    unknown: int


class WhereRow(Document, frozen=True):
    """A host by its last word, which is ``age_s`` old; of one not ``alive`` nothing newer is known.

    ``revoked``: it was put out of the fleet.
    """

    host: HostName
    version: Version
    state: ServiceState
    age_s: float
    alive: bool = True
    revoked: bool = False


class ReleaseView(Document, frozen=True):
    """One published release.  ``torrent_path`` is the API path of its .torrent file.

    ``state`` is ``signed`` once enough of its publishers signed it; before, no host takes it.
    """

    service: ServiceName
    version: Version
    manifest_digest: Digest
    info_hash_v2: str
    size_bytes: int
    file_count: int
    piece_size_bytes: int
    published_at: datetime
    torrent_path: str
    state: ReleaseState = "pending"


class PublishBegun(Document, frozen=True):
    """Answer to a publish: what the registry still needs.

    ``state`` is ``published`` (these very bytes are the release already, nothing to do) or
    ``uploading``; ``missing`` lists chunk numbers (counted over all blobs in order) as
    ``[first, count]`` runs; they go as frames to ``upload_address``.
    """

    state: Literal["published", "uploading"]
    manifest_digest: Digest
    missing: list[tuple[int, int]] = []
    upload_address: str = ""
    upload_key: str = ""


class RolloutRequest(Document, frozen=True, forbid_unknown_fields=True):
    """What ``rollout plan`` and ``rollout apply`` send.  Unset limits take the defaults.

    ``max_unavailable`` is a number of hosts per cell, or a share of its roster such as ``"25%"``
    (rounded down, never to zero).
    """

    service: ServiceName
    version: Version
    environment: str = ""
    machine_function: str = ""
    hosts: tuple[HostName, ...] = ()
    failure_fraction_max: float = 0.1
    max_unavailable: int | str | None = None
    bake_s: float | None = None
    settle_s: float | None = None
    check_index: str = ""  # apply only if the plan is still the one that was shown


class PlannedFaultDomain(Document, frozen=True):
    name: FaultDomain
    hosts: int
    batches: list[int]
    failures_max: int


class PlannedCell(Document, frozen=True):
    cell: CellId
    current: str  # version the cell settled on, empty when none
    baseline: str  # version to go back to, empty when none
    fault_domains: list[PlannedFaultDomain]
    absent: list[HostName]  # down now: outside the roster, converge later
    unchanged: list[HostName]  # healthy with this version already; not so, they start it again


class RolloutPlanView(Document, frozen=True):
    """What a rollout would do, with every limit in force."""

    service: ServiceName
    version: Version
    changes: int  # hosts that would change; 0: nothing to do
    check_index: str
    max_unavailable: int
    failure_fraction_max: float
    brakes_max: int
    bake_s: float
    settle_s: float
    activation_max_s: float
    lease_s: float
    cells: list[PlannedCell]
    reasons: list[Reason] = []


class FaultDomainView(Document, frozen=True):
    """One fault domain of a running rollout, counted over its roster."""

    cell: CellId
    name: FaultDomain
    total: int
    healthy: int
    failed: int
    started_at: datetime | None
    finished_at: datetime | None
    states: dict[str, int] = {}
    waits_for: str = ""  # why it has not begun or does not go on


class RolloutView(Document, frozen=True):
    """One rollout as it stands.  Every state that is not final carries a reason.

    ``failures``: why hosts failed under it, by their own word; of the first 32 of each cell.
    ``swarm``: how its release spreads; None in lists, and before anything was recorded.
    """

    id: RolloutId
    service: ServiceName
    version: Version
    baseline: str
    state: RolloutState
    created_at: datetime
    finished_at: datetime | None
    fault_domains: list[FaultDomainView]
    reasons: list[Reason]
    bytes_per_host_max: int = 0  # fetched from the network by any one host of the roster
    absent: list[HostName] = []
    failures: list[Reason] = []
    swarm: SwarmView | None = None


class RolloutHost(Document, frozen=True):
    """One host of a rollout.  ``state``: how far it is with this rollout, not what runs there.

    ``version`` is what runs there by its last word, empty when nothing does.
    """

    host: HostName
    cell: CellId
    fault_domain: FaultDomain
    state: str
    version: str
    alive: bool
    reason: str = ""


class LogsView(Document, frozen=True):
    host: HostName
    service: ServiceName
    lines: list[str]
