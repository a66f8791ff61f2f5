"""The ledger: every cell as it is conducted, every rollout that is not final, and their storing.

What a decision changes and the orders that follow from it are stored in one transaction, and the
orders are issued after; a kill in between issues them at the next start, out of the database.
Its users hold ``lock`` from the look that a decision rests on until the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
import trio

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, RolloutId, ServiceName
from p2pdeploy.messages.api import RolloutState, RolloutView
from p2pdeploy.planning.conducted import Conducted
from p2pdeploy.planning.left_out import count_anew
from p2ptracker.cells.replicas import Cells
from p2ptracker.rollouts.approval import RolloutSigners
from p2ptracker.rollouts.store import RolloutStore
from p2ptracker.rollouts.unsigned import unsigned_view
from p2ptracker.rollouts.view import (
    CellSight,
    Change,
    RolloutDocument,
    is_final,
    live_view,
    seen_now,
)

__all__ = ["Ledger"]

log = structlog.get_logger(__name__)

_UNDER_WAY: dict[RolloutState, str] = {
    "unsigned": "waiting for signatures",
    "paused": "paused",
    "rolling-back": "going back",
}


class Ledger:
    """What the control plane knows of all rollouts that are under way.

    Args:
        cells: Replicas to read evidence from and to issue orders through.
        store: Where all of it is kept.
        signers: Whose signatures a rollout needs.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        cells: Cells,
        store: RolloutStore,
        signers: RolloutSigners,
        clock: Callable[[], float],
    ) -> None:
        self._cells, self._store = cells, store
        self.signers, self.clock = signers, clock
        self._conducted = {r.cell: Conducted(cell=r.cell) for r in cells.all()}
        self._open: dict[RolloutId, RolloutDocument] = {}
        self.lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Ledger {len(self._open)} open rollouts in {len(self._conducted)} cells>"

    async def load(self) -> None:
        """Go on where the last process stopped.  Cells that left the inventory stay stored."""
        records = await self._store.cells()
        self._conducted |= {
            cell: count_anew(records[cell]) for cell in records if cell in self._conducted
        }
        for document in await self._store.open():
            if self._conducted.keys() >= set(document.cells):
                self._open[document.view.id] = document
            else:
                log.warning("rollout-left-alone", rollout=document.view.id, why="a cell is gone")

    def learn_cell(self, cell: CellId) -> None:
        """Conduct a cell that is new in the inventory as well; one that is known is left alone."""
        if cell not in self._conducted:  # a new dict: somebody may be going through the old one
            self._conducted = {**self._conducted, cell: Conducted(cell=cell)}

    @property
    def conducted(self) -> Mapping[CellId, Conducted]:
        """Every cell."""
        return self._conducted

    @property
    def under_way(self) -> Mapping[RolloutId, RolloutDocument]:
        """Every rollout that is not final."""
        return self._open

    def sight(self, cell: CellId, conducted: Conducted | None = None) -> CellSight:
        """What is known of *cell* at this moment, or would be if it were *conducted*."""
        replica = self._cells.get(cell)
        return CellSight(
            conducted=conducted or self._conducted[cell],
            evidence=replica.evidence,
            alive=replica.alive(trio.current_time()),
            now=self.clock(),
        )

    async def find(self, rollout: RolloutId) -> RolloutDocument:
        """One rollout, final or not; raises NotFoundError."""
        return self._open.get(rollout) or await self._store.find(rollout)

    def show(self, document: RolloutDocument) -> RolloutView:
        """What is stored when it is final, else how it stands now."""
        if document.view.id not in self._open:
            return document.view
        if document.approval is not None:
            return unsigned_view(document, document.approval, self.signers)
        service = document.view.service
        return live_view(
            document.view, [seen_now(self.sight(cell), service) for cell in document.cells]
        )

    def refuse_if_under_way(self, service: ServiceName, cells: Iterable[CellId]) -> None:
        """Raise RefusedError when one of *cells* has a rollout of *service* that is not final."""
        wanted = set(cells)
        for rollout_id, document in self._open.items():
            if document.view.service == service and not wanted.isdisjoint(document.cells):
                state = self.show(document).state
                raise RefusedError(
                    f"rollout {rollout_id} of {service} is {_UNDER_WAY.get(state, 'under way')}",
                    hint=_way_out(rollout_id, state),
                    code="rollout-under-way",
                )

    async def commit(
        self,
        changes: Sequence[Change],
        *documents: RolloutDocument,
        approved: Mapping[CellId, bytes] | None = None,
    ) -> None:
        """Store cells, orders and every rollout that changed with them; then issue the orders.

        Nothing is remembered that could not be stored.

        Args:
            changes: By cell.
            documents: Rollouts that are new, open again, or changed otherwise than their cells.
            approved: The ROLLOUT among a cell's orders as people signed it; without one it is
                sealed with the control plane's own key.
        """
        conducted = {cell.cell: cell for cell, _ in changes}
        saved = self._changed_with(conducted, documents)
        envelopes = approved or {}
        sealed = [
            self._cells.seal(cell.cell, orders, rollout=envelopes.get(cell.cell, b""))
            for cell, orders in changes
            if orders
        ]
        rows = [row for orders in sealed for row in orders.rows]
        await self._store.save(saved, [*conducted.values()], rows)
        self._conducted |= conducted
        self._open |= {document.view.id: document for document in saved}
        for document in saved:
            log.info("rollout-state", rollout=document.view.id, state=document.view.state)
            if is_final(document):
                del self._open[document.view.id]
        for orders in sealed:
            self._cells.issue(orders)
            for _, order in orders.items:
                log.info("order-issued", cell=orders.cell, order=type(order).__name__)

    def _changed_with(
        self, conducted: dict[CellId, Conducted], documents: Iterable[RolloutDocument]
    ) -> list[RolloutDocument]:
        """*documents*, and those of the others whose state is another once *conducted* is true."""
        given = {document.view.id: document for document in documents}
        before = {document.view.id: document.view.state for document in self._open.values()}
        after = [self._as_in(d, conducted) for d in {**self._open, **given}.values()]
        return [
            d
            for d in after
            if d.view.id in given or is_final(d) or d.view.state != before[d.view.id]
        ]

    def _as_in(
        self, document: RolloutDocument, conducted: dict[CellId, Conducted]
    ) -> RolloutDocument:
        """The document as it is once *conducted* is what its cells are."""
        if document.approval is not None or conducted.keys().isdisjoint(document.cells):
            return document
        cells = [self.sight(cell, conducted.get(cell)) for cell in document.cells]
        return RolloutDocument(cells=document.cells, view=live_view(document.view, cells))


def _way_out(rollout: RolloutId, state: RolloutState) -> str:
    """What lets the next rollout of the service begin; what goes back cannot be aborted."""
    if state == "rolling-back":
        return (
            f"wait: 'p2pctl rollout status {rollout}'; a host that does not come back is let go "
            f"with 'p2pctl rollout excuse {rollout} HOST --reason TEXT'"
        )
    first = f"'p2pctl rollout resume {rollout}'" if state == "paused" else "wait for it"
    return f"{first}, or 'p2pctl rollout abort {rollout}'"
