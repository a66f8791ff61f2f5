"""The orchestrator: carries out what ``p2pdeploy.planning`` decides, for every cell.

What a decision changes and the orders that follow from it are stored in one transaction, and the
orders are issued after; a kill in between issues them at the next start, out of the database.
One lock covers a look, a new rollout and an operator's word, so none sees half of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
import trio

from p2pdeploy.errors import NotFoundError, P2PDeployError, RefusedError, UnavailableError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.api import (
    Reason,
    ReleaseView,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
)
from p2pdeploy.messages.host import Why
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.conducted import Conducted
from p2pdeploy.planning.conductor import conduct
from p2pdeploy.planning.left_out import count_anew
from p2pdeploy.topology import Host
from p2ptracker.cells.daemons import Daemons
from p2ptracker.cells.replicas import Cells
from p2ptracker.rollouts.draft import (
    Draft,
    draft_rollout,
    facts_of,
    open_draft,
    refuse_other_index,
)
from p2ptracker.rollouts.in_use import versions_in_use
from p2ptracker.rollouts.release import read_release
from p2ptracker.rollouts.steering import Verb, excuse_hosts, steer
from p2ptracker.rollouts.store import RolloutStore
from p2ptracker.rollouts.targets import hosts_by_cell, limits_of, refuse_one_too_many
from p2ptracker.rollouts.view import CellSight, RolloutDocument, is_final, live_view
from p2ptracker.rollouts.why import reasons_of_host, reasons_of_rollout
from p2ptracker.storage.interfaces import BlobStore, Database

__all__ = ["Orchestrator"]

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5  # what a cell says is acted on within this time


class Orchestrator:
    """The rollouts of the whole fleet; implements ``RolloutDesk``.

    Args:
        cells: Replicas to read evidence from and to issue orders through.
        inventory: Every host.
        database, store: Where rollouts and releases are.
        daemons: Asked why a host does not go on.
        is_signed: Whether hosts would accept a release.
        settle_s: How long a gate must stay open when a request does not say.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        cells: Cells,
        inventory: Sequence[Host],
        database: Database,
        store: BlobStore,
        daemons: Daemons,
        *,
        is_signed: Callable[[ReleaseView], bool],
        settle_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cells, self._inventory, self._daemons = cells, inventory, daemons
        self._database, self._store = database, store
        self._rollouts, self._is_signed = RolloutStore(database), is_signed
        self._settle_s, self._clock = settle_s, clock
        self._conducted = {r.cell: Conducted(cell=r.cell) for r in cells.all()}
        self._open: dict[RolloutId, RolloutDocument] = {}
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Orchestrator {len(self._open)} open rollouts in {len(self._conducted)} cells>"

    async def load(self) -> None:
        """Go on where the last process stopped.  Cells that left the inventory stay stored."""
        records = await self._rollouts.cells()
        self._conducted |= {
            cell: count_anew(records[cell]) for cell in records if cell in self._conducted
        }
        for document in await self._rollouts.open():
            if self._conducted.keys() >= set(document.cells):
                self._open[document.view.id] = document
            else:
                log.warning("rollout-left-alone", rollout=document.view.id, why="a cell is gone")

    def learn_cell(self, cell: CellId) -> None:
        """Conduct a cell that is new in the inventory as well; one that is known is left alone."""
        if cell not in self._conducted:  # a new dict: somebody may be going through the old one
            self._conducted = {**self._conducted, cell: Conducted(cell=cell)}

    def versions_in_use(self, service: ServiceName) -> frozenset[str]:
        """The versions of *service* that hosts run, come to, or may have to go back to."""
        return versions_in_use(
            service,
            [(conducted, self._cells.get(c).evidence) for c, conducted in self._conducted.items()],
        )

    # -- conducting --------------------------------------------------------------------------

    async def conduct_cells(self) -> None:
        """Task: look at every cell twice a second, and do what the conductor says."""
        while True:
            try:
                await self.look()
            except UnavailableError as error:  # what could not be stored was not issued either
                log.warning("look-failed", code=error.code, reason=str(error))
            await trio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look at every cell once; on return, what was due is stored and issued."""
        async with self._lock:
            for cell in self._conducted:
                sight = self._sight(cell)
                change = conduct(
                    sight.conducted,
                    sight.evidence,
                    sight.alive,
                    sight.now,
                    lease_seq_seen=self._cells.get(cell).lease_seq_max(),
                )
                if change != (sight.conducted, []):
                    await self._commit([change])

    async def _commit(
        self, changes: Sequence[tuple[Conducted, list[Order]]], *opened: RolloutDocument
    ) -> None:
        """Store cells, orders and every rollout that changed with them; then issue the orders.

        Nothing is remembered that could not be stored.  *opened* was not open before.
        """
        conducted = {cell.cell: cell for cell, _ in changes}
        documents = [self._as_in(d, conducted) for d in (*self._open.values(), *opened)]
        before = {document.view.id: document.view.state for document in self._open.values()}
        saved = [d for d in documents if is_final(d) or d.view.state != before.get(d.view.id)]
        sealed = [self._cells.seal(cell.cell, orders) for cell, orders in changes if orders]
        rows = [row for orders in sealed for row in orders.rows]
        await self._rollouts.save(saved, [*conducted.values()], rows)
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

    def _as_in(
        self, document: RolloutDocument, conducted: dict[CellId, Conducted]
    ) -> RolloutDocument:
        """The document as it is once *conducted* is what its cells are."""
        if conducted.keys().isdisjoint(document.cells):
            return document
        cells = [self._sight(cell, conducted.get(cell)) for cell in document.cells]
        return RolloutDocument(cells=document.cells, view=live_view(document.view, cells))

    def _sight(self, cell: CellId, conducted: Conducted | None = None) -> CellSight:
        replica = self._cells.get(cell)
        return CellSight(
            conducted=conducted or self._conducted[cell],
            evidence=replica.evidence,
            alive=replica.alive(trio.current_time()),
            now=self._clock(),
        )

    # -- what operators ask ------------------------------------------------------------------

    async def plan(self, request: RolloutRequest) -> RolloutPlanView:
        """What the rollout would do; changes nothing."""
        async with self._lock:
            return (await self._draft(request, RolloutId("plan"))).view

    async def apply(self, request: RolloutRequest) -> RolloutView:
        """Accept the rollout; returns as soon as it is stored and issued."""
        async with self._lock:
            draft = await self._draft(request, await self._rollouts.next_id(request.service))
            refuse_other_index(draft)
            cells = {plan.plan.cell: self._sight(plan.plan.cell) for plan in draft.cell_plans}
            self._refuse_if_under_way(request.service, [*cells])
            document, changes = open_draft(draft, cells)
            await self._commit(changes, document)
            log.info("rollout-accepted", rollout=draft.rollout_id, version=request.version)
            return self._show(document)

    async def history(self, *, service: str, limit: int, after: str) -> Sequence[RolloutView]:
        """Rollouts, newest first, of one service or of all."""
        found = await self._rollouts.history(service=service, limit=limit, after=after)
        return [self._show(document) for document in found]

    async def get(self, rollout: RolloutId) -> RolloutView:
        """One rollout as it stands."""
        return self._show(await self._find(rollout))

    async def steer(self, rollout: RolloutId, verb: Verb) -> RolloutView:
        """Pause, resume, abort or revert; raises RefusedError when its state forbids it."""
        async with self._lock:
            document = await self._find(rollout)
            cells = [self._sight(cell) for cell in document.cells]
            changes = steer(self._show(document), verb, cells)
            await self._commit(changes, *([] if rollout in self._open else [document]))
            log.info("rollout-steered", rollout=rollout, verb=verb)
            return self._show(document)

    async def excuse(
        self, rollout: RolloutId, hosts: tuple[HostName, ...], reason: str
    ) -> RolloutView:
        """Go on without these hosts, as far as each fault domain tolerates it."""
        async with self._lock:
            document = await self._find(rollout)
            cells = [self._sight(cell) for cell in document.cells]
            await self._commit(excuse_hosts(self._show(document), hosts, reason, cells))
            return self._show(document)

    async def why(self, rollout: RolloutId, host: str) -> Sequence[Reason]:
        """Why the rollout, or one host of it, stands where it stands."""
        document = await self._find(rollout)
        view = self._show(document)
        if not host:
            return reasons_of_rollout(view)
        name = HostName(host)
        replicas = [self._cells.get(cell) for cell in document.cells]
        replica = next((replica for replica in replicas if name in replica.hosts), None)
        if replica is None:
            raise NotFoundError(f"{host!r} is in no cell of {rollout}", code="no-host")
        try:
            answer: Why | P2PDeployError = await self._daemons.why(name, view.service)
        except P2PDeployError as error:
            answer = error
        said = replica.evidence.get(view.service, {}).get(name)
        return reasons_of_host(view, name, said, answer)

    async def _find(self, rollout: RolloutId) -> RolloutDocument:
        return self._open.get(rollout) or await self._rollouts.find(rollout)

    def _show(self, document: RolloutDocument) -> RolloutView:
        """What is stored when it is final, else how it stands now."""
        if document.view.id not in self._open:
            return document.view
        return live_view(document.view, [self._sight(cell) for cell in document.cells])

    # -- planning ----------------------------------------------------------------------------

    async def _draft(self, request: RolloutRequest, rollout_id: RolloutId) -> Draft:
        build, spec = await read_release(self._database, self._store, request, self._is_signed)
        limits = limits_of(request, spec, settle_s=self._settle_s)
        cells = {}
        for cell, hosts in hosts_by_cell(request, self._inventory).items():
            replica, sight = self._cells.get(cell), self._sight(cell)
            refuse_one_too_many(request.service, replica.services(), cell)
            seen = replica.plan_seq_max(request.service)
            facts = facts_of(request, sight, hosts, size=len(replica.hosts), seq_seen=seen)
            cells[cell] = (sight, facts)
        return draft_rollout(request, rollout_id, build, limits, cells, self._clock())

    def _refuse_if_under_way(self, service: ServiceName, cells: Sequence[CellId]) -> None:
        for rollout_id, document in self._open.items():
            if document.view.service == service and not set(cells).isdisjoint(document.cells):
                raise RefusedError(
                    f"rollout {rollout_id} of {service} is still under way",
                    hint=f"wait for it, or 'p2pctl rollout abort {rollout_id}'",
                    code="rollout-under-way",
                )
