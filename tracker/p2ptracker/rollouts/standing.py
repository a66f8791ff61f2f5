"""Rollouts that stand are approved anew while other keys take over: nothing starts because of it.

Signatures are collected on the stored envelopes themselves, beside those of before: whatever keys
a host knows by then, it believes them.  The caller holds the ledger's lock.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, RolloutId
from p2pdeploy.messages.api import RolloutView
from p2pdeploy.messages.approval import (
    CELLS_APPROVED_MAX,
    ApprovalRequest,
    RolloutProposal,
    StandingView,
)
from p2pdeploy.messages.orders import Rollout
from p2ptracker.cells.replica import CellReplica
from p2ptracker.cells.replicas import Cells
from p2ptracker.cells.sealing_anew import replace_in_cells
from p2ptracker.cells.standing_rollouts import StandingRollout, approved_anew, standing_rollouts
from p2ptracker.rollouts.approval import RolloutSigners
from p2ptracker.rollouts.view import RolloutDocument
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.rollouts import StoredOrder, replace_envelopes, stored_orders

__all__ = ["StandingApprovals", "refuse_unbelieved"]

log = structlog.get_logger(__name__)


class StandingApprovals:
    """The desk that signatures on standing rollouts come to.

    Args:
        database: Keeps the envelopes.
        cells: Show them to hosts.
        signers: Who takes over.
    """

    def __init__(self, database: Database, cells: Cells, signers: RolloutSigners) -> None:
        self._database, self._cells, self._signers = database, cells, signers
        self._verifying = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<StandingApprovals by {self._signers!r}>"

    async def unsigned(self) -> list[StandingView]:
        """Every rollout that needs signatures, by id; empty when no keys take over."""
        if not self._signers.are_taking_over:
            return []
        found: dict[RolloutId, list[StandingRollout]] = {}
        for each in await self._lacking():
            found.setdefault(each.rollout.rollout_id, []).append(each)
        return [
            StandingView(
                rollout=rollout,
                signed_by=self._signed_by(found[rollout]),
                threshold=self._signers.threshold,
            )
            for rollout in sorted(found)
        ]

    async def proposal(self, document: RolloutDocument) -> RolloutProposal:
        """What is to be signed of a rollout: its ROLLOUTs, byte for byte as they stand.

        Raises:
            RefusedError: it stands nowhere, or was signed well enough.
        """
        lacking = await self._lacking_of(document)
        return RolloutProposal(
            rollout=document.view.id,
            payloads=[each.payload for each in lacking],
            signed_by=self._signed_by(lacking),
            threshold=self._signers.threshold,
            standing=tuple(each.row.envelope for each in lacking),
        )

    async def take(self, document: RolloutDocument, request: ApprovalRequest) -> None:
        """Put a key's signatures beside those that there are: stored, and then shown to hosts.

        Raises:
            RefusedError: the rollout needs none, the key may not sign, it signed something
                else, or what stood was forgotten meanwhile.
            UnavailableError: they could not be stored; bring them again.
        """
        lacking, key_id = await self._lacking_of(document), request.key_id
        self._signers.check([each.payload for each in lacking], key_id, request.signatures)
        anew = [
            approved_anew(each, (key_id, signature), self._signers.believed)
            for each, signature in zip(lacking, request.signatures, strict=True)
        ]
        rows = [each.row for each in anew]

        def work(connection: sa.Connection) -> None:
            if replace_envelopes(connection, rows) < len(rows):  # a rotation ended, and forgot it
                raise RefusedError(
                    f"{document.view.id} does not stand any more as it was signed",
                    hint="run the command again",
                    code="stale-proposal",
                )

        await self._database.write(work)
        replace_in_cells(self._cells, anew)
        log.info("standing-rollout-signed", rollout=document.view.id, key=key_id)

    async def _lacking_of(self, document: RolloutDocument) -> list[StandingRollout]:
        """What lacks signatures of one rollout; at most as much as is signed at once."""
        found = [
            each
            for each in await self._lacking(f"rollout/{document.view.service}")
            if each.rollout.rollout_id == document.view.id
        ]
        if not found:
            raise RefusedError(
                f"{document.view.id} is {document.view.state}: it waits for no signatures",
                code="not-unsigned",
            )
        return found[:CELLS_APPROVED_MAX]

    async def _lacking(self, key: str = "") -> list[StandingRollout]:
        """What stands under *key*, or all, without enough signatures of those who take over."""

        def read(connection: sa.Connection) -> list[StoredOrder]:
            return [row for row in stored_orders(connection) if key in ("", row.key)]

        rows = await self._database.read(read)
        cells = frozenset[CellId](replica.cell for replica in self._cells.all())

        def verify() -> list[StandingRollout]:
            standing = standing_rollouts(rows, cells, self._cells.verify)
            return [each for each in standing if not self._is_enough(each)]

        return await trio.to_thread.run_sync(verify, limiter=self._verifying)

    def _is_enough(self, each: StandingRollout) -> bool:
        signed = self._signers.who_signed(each.payload, each.signatures)
        return len(signed) >= self._signers.threshold

    def _signed_by(self, standing: Sequence[StandingRollout]) -> list[str]:
        signed = [self._signers.who_signed(each.payload, each.signatures) for each in standing]
        return sorted(frozenset.intersection(*signed))


def refuse_unbelieved(view: RolloutView, replicas: Sequence[CellReplica]) -> None:
    """Raise RefusedError unless hosts believe the ROLLOUT of *view*: else no REVERT counts."""
    for replica in replicas:
        key = f"rollout/{view.service}"
        order, item = replica.order(key), replica.state.get(key)
        if item is None or not isinstance(order, Rollout) or order.rollout_id != view.id:
            raise RefusedError(
                f"hosts of {replica.cell} do not believe {view.id} any more: its keys were rotated",
                hint="roll the older version out instead",
                code="unbelieved",
            )
