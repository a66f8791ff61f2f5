"""One rollout as it is stored, and as it stands right now.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from p2pdeploy.ids import CellId, HostName, ServiceName
from p2pdeploy.messages.api import FINAL_STATES, Reason, RolloutView
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.activating import waits_now
from p2pdeploy.planning.cell_rollout import CellRollout, View
from p2pdeploy.planning.conducted import Conducted, latest, replace_rollout
from p2pdeploy.planning.next_go import activates_before
from p2pdeploy.planning.views import rollout_view
from p2ptracker.rollouts.approval import Approval

__all__ = [
    "CellSight",
    "Change",
    "RolloutDocument",
    "is_final",
    "live_view",
    "rollout_in",
    "seen_now",
]

_SAID_TO_OPERATORS = {"accepted", "resumed"}  # stand until the conductor has looked
_ENDING = Reason(code="ending", message="every host has its outcome")


Change = tuple[Conducted, list[Order]]
"""A cell as it is to be stored, and the orders to issue to it."""


class RolloutDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one rollout.  ``view`` is as of the last change, whole once final.

    With an ``approval`` it waits for signatures, and its cells know nothing of it; under
    ``rollout_seq`` people were asked to sign, so no other rollout gets that number.
    """

    cells: tuple[CellId, ...]
    view: RolloutView
    approval: Approval | None = None
    rollout_seq: int = 0


class CellSight(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane knows of one cell at one moment, in seconds since the epoch."""

    conducted: Conducted
    evidence: Mapping[ServiceName, Mapping[HostName, Attestation]]
    alive: frozenset[HostName]
    now: float

    def view_of(self, service: ServiceName) -> View:
        """The part that concerns one service."""
        return View(self.evidence.get(service, {}), self.alive, self.now)


def is_final(document: RolloutDocument) -> bool:
    """Whether nothing happens any more unless somebody reverts it."""
    return document.view.state in FINAL_STATES


def rollout_in(conducted: Conducted, service: ServiceName) -> CellRollout:
    """The newest rollout of *service* in a cell that has one."""
    entry = latest(conducted, service)
    assert entry is not None, "an open rollout has an entry in each of its cells"
    return entry.rollout


def seen_now(cell: CellSight, service: ServiceName) -> CellSight:
    """*cell* with what its rollout of *service* waits for as of this moment, like its counts.

    Between two looks of the conductor hosts go on; what only a look may do is left to it.
    """
    rollout = rollout_in(cell.conducted, service)
    said = any(reason.code in _SAID_TO_OPERATORS for reason in rollout.reasons)
    if rollout.phase != "activating" or said:
        return cell
    reasons = waits_now(rollout, cell.view_of(service)) or (_ENDING,)
    now = msgspec.structs.replace(rollout, reasons=reasons)
    return msgspec.structs.replace(cell, conducted=replace_rollout(cell.conducted, now))


def live_view(last: RolloutView, cells: Sequence[CellSight]) -> RolloutView:
    """The document of an open rollout, from its cells as they are seen now."""
    waiting = {cell.conducted.cell: _waits_for(cell, last.service) for cell in cells}
    rollouts = [
        _without_progress(rollout) if waiting[rollout.plan.cell] else rollout
        for rollout in (rollout_in(cell.conducted, last.service) for cell in cells)
    ]
    done = all(rollout.phase == "done" for rollout in rollouts)
    view = rollout_view(
        rollout_id=last.id,
        service=last.service,
        version=last.version,
        created_at=last.created_at.timestamp(),
        finished_at=max(cell.now for cell in cells) if done else 0.0,
        cells=rollouts,
        evidence={cell.conducted.cell: cell.evidence.get(last.service, {}) for cell in cells},
    )
    waits = [reason for reason in waiting.values() if reason]
    begun = any(domain.started_at for domain in view.fault_domains)
    state = "planned" if waits and view.state == "running" and not begun else view.state
    return msgspec.structs.replace(view, state=state, reasons=[*waits, *view.reasons])


def _without_progress(rollout: CellRollout) -> CellRollout:
    """What waits for another rollout goes on nowhere."""
    reasons = tuple(reason for reason in rollout.reasons if reason.code != "activating")
    return msgspec.structs.replace(rollout, reasons=reasons)


def _waits_for(cell: CellSight, service: ServiceName) -> Reason | None:
    before = activates_before(cell.conducted, service, cell.evidence, cell.alive, cell.now)
    if before is None:
        return None
    name = cell.conducted.cell
    return Reason(
        code="waits-for",
        message=f"waits in {name} for {before.rollout_id}: a cell activates one service at a time",
    )
