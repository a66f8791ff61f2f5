"""Rollouts that wait for people's signatures: begun, signed, opened, or ended before they began.

Everything here runs under the ledger's lock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from p2pdeploy.errors import P2PDeployError, RefusedError, UnavailableError
from p2pdeploy.messages.api import Reason, RolloutRequest, RolloutState
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal
from p2pdeploy.messages.orders import Rollout
from p2ptracker.rollouts.approval import Approval
from p2ptracker.rollouts.ledger import Ledger
from p2ptracker.rollouts.opening import open_approved
from p2ptracker.rollouts.survey import Surveyor
from p2ptracker.rollouts.unsigned import (
    approval_of,
    await_hosts,
    await_signatures,
    close_unsigned,
    waits_for_hosts,
)
from p2ptracker.rollouts.view import Change, RolloutDocument

__all__ = ["Approvals"]

log = structlog.get_logger(__name__)


class Approvals:
    """The desk that signatures on rollouts come to.

    Args:
        ledger: Where rollouts are.
        surveyor: Gathers the facts of the moment at which the last signature comes.
    """

    def __init__(self, ledger: Ledger, surveyor: Surveyor) -> None:
        self._ledger, self._surveyor = ledger, surveyor

    def __repr__(self) -> str:
        return f"<Approvals of {self._ledger!r}>"

    def needed(self) -> list[Reason]:
        """What a rollout that is planned now would wait for."""
        signers = self._ledger.signers
        if signers.is_alone_enough:
            return []
        text = f"it begins once {signers.threshold} approvers have signed it"
        return [Reason(code="unsigned", message=text)]

    async def begin(
        self, planned: RolloutDocument, request: RolloutRequest, changes: Sequence[Change]
    ) -> None:
        """Keep a rollout until it is signed, instead of opening it.

        Args:
            planned: As it would be opened now.
            request: What was asked for; the plans are made anew from it.
            changes: What opening it would issue; only the ROLLOUTs are kept.
        """
        rollouts = [o for _, orders in changes for o in orders if isinstance(o, Rollout)]
        approval = self._ledger.signers.ask(request, rollouts)
        await self._ledger.commit([], await_signatures(planned, approval))

    def proposal(self, document: RolloutDocument) -> RolloutProposal:
        """What is to be signed, and by whom it was."""
        approval, signers = approval_of(document), self._ledger.signers
        return RolloutProposal(
            rollout=document.view.id,
            payloads=list(approval.payloads),
            signed_by=sorted(signers.signed_by(approval)),
            threshold=signers.threshold,
        )

    async def take(self, document: RolloutDocument, request: ApprovalRequest) -> None:
        """Add a key's signatures; with enough of them, open the rollout.

        Raises:
            RefusedError: the rollout waits for none, its time is over, the key may not sign, or
                it signed something else.
        """
        approval = approval_of(document)
        if self._ledger.clock() >= approval.expires_at:
            raise RefusedError(f"{document.view.id} has lapsed", code="approval-lapsed")
        approval = self._ledger.signers.take(approval, request.key_id, request.signatures)
        log.info("rollout-signed", rollout=document.view.id, key=request.key_id)
        document = msgspec.structs.replace(document, approval=approval)
        if self._ledger.signers.is_enough(approval):
            await self._open(document, approval)
        else:
            await self._ledger.commit([], document)

    async def look(self) -> None:
        """End what lapsed; open what is signed well enough and could not be opened before.

        The keys of the role changed since, or a target is alive again.
        """
        for document in [*self._ledger.under_way.values()]:
            if document.approval is None:
                continue
            if self._ledger.clock() >= document.approval.expires_at:
                await self._close(document, "failed", "approval-lapsed", self._why_lapsed(document))
            elif self._ledger.signers.is_enough(document.approval) and self._may_open(document):
                await self._open(document, document.approval)

    async def abort(self, document: RolloutDocument) -> None:
        """End a rollout that nothing was started of."""
        await self._close(document, "aborted", "operator", "aborted by an operator")

    def _why_lapsed(self, document: RolloutDocument) -> str:
        if self._ledger.signers.is_enough(approval_of(document)):
            return "no target host was alive in time: apply it again"
        return "nobody else signed it in time: apply it again"

    def _may_open(self, document: RolloutDocument) -> bool:
        """False while nobody is known to be alive still, which needs no survey to be seen."""
        request = approval_of(document).request
        return not waits_for_hosts(document) or self._surveyor.sees_any(request)

    async def _open(self, document: RolloutDocument, approval: Approval) -> None:
        """Begin the rollout; what was signed and fits no more ends it.

        While no target is alive it waits, with its signatures, for as long as they hold.
        """
        try:
            changes = await self._plan_anew(document, approval)
        except UnavailableError:
            raise  # the database is away: the signature is not taken, and is brought again
        except P2PDeployError as error:
            if error.code == "none-alive":
                await self._keep(await_hosts(document))
                return
            text = f"what was signed fits no more ({error.message}): apply it again"
            await self._close(document, "failed", "stale-approval", text)
            return
        if not self._ledger.signers.is_enough(approval):  # keys left the role meanwhile
            await self._ledger.commit([], document)
            return
        envelopes = self._ledger.signers.envelopes(approval)
        approved = dict(zip(document.cells, envelopes, strict=True))
        cells = tuple(conducted.cell for conducted, _ in changes)
        opened = RolloutDocument(cells=cells, view=document.view)
        await self._ledger.commit(changes, opened, approved=approved)

    async def _plan_anew(self, document: RolloutDocument, approval: Approval) -> list[Change]:
        """What opens the rollout now; raises P2PDeployError when it can't be, or hosts refuse."""
        found = await self._surveyor.survey(approval.request)
        if gone := set(document.cells) - found.cells.keys():
            raise RefusedError(f"no target is left in {min(gone)}", code="stale-approval")
        cells = {cell: found.cells[cell] for cell in document.cells}  # others were not approved
        return open_approved(
            approval.rollouts(), cells, found.build, found.limits, self._ledger.clock()
        )

    async def _keep(self, document: RolloutDocument) -> None:
        if self._ledger.under_way.get(document.view.id) != document:
            await self._ledger.commit([], document)

    async def _close(
        self, document: RolloutDocument, state: RolloutState, code: str, text: str
    ) -> None:
        reason = Reason(code=code, message=text)
        closed = close_unsigned(document, state, reason, self._ledger.clock())
        await self._ledger.commit([], closed)
