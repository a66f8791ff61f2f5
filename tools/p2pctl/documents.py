"""Documents that ``p2pctl -o json`` makes itself; the API's own are in ``messages/api.py``.

Stable like those, and in ``docs/reference/schemas`` with them.
"""

from __future__ import annotations

from typing import Any, Literal

from p2pdeploy.ids import Digest, HostName, ServiceName, Version
from p2pdeploy.messages.api import Document, ReleaseState, RolloutState

__all__ = [
    "AcceptReport",
    "AuditReport",
    "DemoReport",
    "DemoRollout",
    "DownReport",
    "LintFinding",
    "LintReport",
    "PublishReport",
    "RequestReport",
    "RevokeReport",
    "UpReport",
]


class PublishReport(Document, frozen=True):
    """What ``publish`` did.

    ``sent_bytes`` went to the registry in this run; ``reused_bytes`` did not: it had them already,
    from other releases or from a publish that was interrupted, or, ``repeated_bytes`` of them, they
    stand in the payload more than once.  ``release_state`` is ``signed``, or
    ``pending`` while ``missing_signatures`` more publishers must sign.  ``service_added``: the
    service was new, and is the fleet's publishers' now.
    """

    service: ServiceName
    version: Version
    manifest_digest: Digest
    size_bytes: int
    sent_bytes: int
    reused_bytes: int
    state: Literal["published", "already-published"]
    seconds: float
    release_state: ReleaseState
    missing_signatures: int
    service_added: bool
    repeated_bytes: int = 0


class LintFinding(Document, frozen=True):
    """One fault of a payload.  ``line`` is 0 when the fault has no line."""

    file: str
    line: int
    key: str
    message: str
    hint: str
    severity: Literal["error", "warning"]


class LintReport(Document, frozen=True):
    """Every fault, and the settings in force with all defaults (null when they do not parse)."""

    ok: bool
    findings: list[LintFinding]
    effective: dict[str, Any] | None


class UpReport(Document, frozen=True):
    """A fleet that runs.  ``started`` and ``adopted`` name its processes.

    ``left_alone`` are hosts of the inventory that have no folder here; ``revoked`` ones were put
    out of the fleet.  Neither was started.
    """

    dir: str
    api: str
    hosts: int
    started: list[str]
    adopted: list[str]
    seconds: float
    left_alone: tuple[HostName, ...] = ()
    revoked: tuple[HostName, ...] = ()


class DownReport(Document, frozen=True):
    """Processes that ``down`` stopped; empty when nothing ran."""

    dir: str
    stopped: list[str]


class AuditReport(Document, frozen=True):
    """An audit log whose chain is whole.  ``head``: the digest of its last entry, worth noting.

    ``unfinished``: calls that began and left no outcome, as when the control plane was killed.
    """

    entries: int
    head: Digest
    unfinished: int


class DemoRollout(Document, frozen=True):
    """One rollout of the demo, as it went.  ``fd_order``: fault domains in order of start."""

    version: Version
    outcome: RolloutState
    seconds: float
    fd_order: list[str]
    bytes_per_host_max: int


class DemoReport(Document, frozen=True):
    """The whole demo.  ``ok``: everything was as told; ``faults`` says what was not."""

    ok: bool
    hosts: int
    rollouts: list[DemoRollout]
    served_versions: dict[HostName, str]
    faults: list[str]


class RequestReport(Document, frozen=True):
    """What ``auth request`` made: a file for an admin, and the key's fingerprint to tell them."""

    name: str
    request: str
    key_fingerprint: str


class AcceptReport(Document, frozen=True):
    """Who the folder ``dir`` speaks as now.  ``fleet_number`` is for comparing with the admin's."""

    dir: str
    name: str
    fleet: str
    roles: tuple[str, ...]
    fleet_number: str


class RevokeReport(Document, frozen=True):
    """The host that ``enroll revoke`` put out."""

    host: HostName
    reason: str
