"""A rollout that waits for signatures, or then for a host: no cell knows of it yet.  Pure."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.messages.api import FINAL_STATES, Reason, RolloutState, RolloutView
from p2pdeploy.planning.views import utc
from p2ptracker.rollouts.approval import Approval, RolloutSigners
from p2ptracker.rollouts.view import RolloutDocument

__all__ = [
    "approval_of",
    "await_hosts",
    "await_signatures",
    "close_unsigned",
    "unsigned_view",
    "waits_for_hosts",
]

_NONE_ALIVE = Reason(
    code="none-alive",
    message="it is signed, and begins as soon as a target host is alive: p2pctl hosts",
)


def await_signatures(document: RolloutDocument, approval: Approval) -> RolloutDocument:
    """The rollout *document*, which was planned and is not opened, as one that waits."""
    waiting = [msgspec.structs.replace(d, waits_for="") for d in document.view.fault_domains]
    view = msgspec.structs.replace(
        document.view, state="unsigned", reasons=[], fault_domains=waiting
    )
    rollout_seq = max(rollout.rollout_seq for rollout in approval.rollouts())
    return RolloutDocument(
        cells=document.cells, view=view, approval=approval, rollout_seq=rollout_seq
    )


def await_hosts(document: RolloutDocument) -> RolloutDocument:
    """The rollout *document*, which enough people signed, while none of its targets is alive."""
    view = msgspec.structs.replace(document.view, reasons=[_NONE_ALIVE])
    return msgspec.structs.replace(document, view=view)


def waits_for_hosts(document: RolloutDocument) -> bool:
    """Whether no target was alive when *document* was to be opened last."""
    return _NONE_ALIVE in document.view.reasons


def approval_of(document: RolloutDocument) -> Approval:
    """What *document* waits for; raises RefusedError when it does not wait for signatures."""
    if document.approval is None:
        raise RefusedError(
            f"{document.view.id} is {document.view.state}: it waits for no signatures",
            code="not-unsigned",
        )
    return document.approval


def unsigned_view(
    document: RolloutDocument, approval: Approval, signers: RolloutSigners
) -> RolloutView:
    """The rollout as it stands, which says how many signatures it has, or that none is missing."""
    if waits_for_hosts(document) and signers.is_enough(approval):
        return document.view
    count = f"{len(signers.signed_by(approval))} of {signers.threshold} signatures"
    reason = Reason(
        code="unsigned", message=f"{count}: p2pctl rollout sign {document.view.id} --key FILE"
    )
    return msgspec.structs.replace(document.view, reasons=[reason])


def close_unsigned(
    document: RolloutDocument, state: RolloutState, reason: Reason, now: float
) -> RolloutDocument:
    """The rollout ended before it began."""
    assert state in FINAL_STATES, state
    view = msgspec.structs.replace(
        document.view, state=state, reasons=[reason], finished_at=utc(now)
    )
    return msgspec.structs.replace(document, view=view, approval=None)
