"""The orchestrator: carries out what ``p2pdeploy.planning`` decides, for every cell.

The ledger's lock covers a look, a new rollout and an operator's word, so none sees half of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog
import trio

from p2pdeploy.errors import NotFoundError, P2PDeployError, UnavailableError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.api import (
    Reason,
    ReleaseView,
    RolloutHost,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
)
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal, StandingView
from p2pdeploy.messages.host import Why
from p2pdeploy.messages.swarm import SpreadView
from p2pdeploy.planning.conductor import conduct
from p2pdeploy.topology import Host
from p2ptracker.cells.daemons import Daemons
from p2ptracker.cells.replicas import Cells
from p2ptracker.prefetching.desk import PrefetchDesk
from p2ptracker.rollouts.approval import RolloutSigners
from p2ptracker.rollouts.approving import Approvals
from p2ptracker.rollouts.draft import Draft, draft_rollout, open_draft, refuse_other_index
from p2ptracker.rollouts.host_rows import rows_of_hosts
from p2ptracker.rollouts.in_use import versions_in_use
from p2ptracker.rollouts.ledger import Ledger
from p2ptracker.rollouts.spreading import RolloutSpreads
from p2ptracker.rollouts.standing import StandingApprovals, refuse_unbelieved
from p2ptracker.rollouts.steering import Verb, excuse_hosts, steer
from p2ptracker.rollouts.store import RolloutStore
from p2ptracker.rollouts.survey import Surveyor
from p2ptracker.rollouts.view import RolloutDocument
from p2ptracker.rollouts.why import reasons_of_cell, reasons_of_host, reasons_of_rollout
from p2ptracker.spreads.recorder import SpreadRecorder
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
        prefetches: Brings the bytes of rollouts that wait for signatures.
        signers: Whose signatures a rollout needs.
        is_signed: Whether hosts would accept a release.
        spreads: How releases spread.
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
        prefetches: PrefetchDesk,
        *,
        signers: RolloutSigners,
        is_signed: Callable[[ReleaseView], bool],
        spreads: SpreadRecorder,
        settle_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cells, self._daemons, self._signers = cells, daemons, signers
        self._prefetches = prefetches
        self._rollouts = RolloutStore(database)
        self._ledger = Ledger(cells, self._rollouts, signers, clock)
        self._surveyor = Surveyor(
            cells, inventory, database, store, self._rollouts, self._ledger, is_signed, settle_s
        )
        self.spreads = RolloutSpreads(self._ledger, spreads)
        self._approvals = Approvals(self._ledger, self._surveyor)
        self._standing = StandingApprovals(database, cells, signers)

    def __repr__(self) -> str:
        return f"<Orchestrator of {self._ledger!r}>"

    async def load(self) -> None:
        """Go on where the last process stopped."""
        await self._ledger.load()

    def learn_cell(self, cell: CellId) -> None:
        """Conduct a cell that is new in the inventory as well; one that is known is left alone."""
        self._ledger.learn_cell(cell)

    def versions_in_use(self, service: ServiceName) -> frozenset[str]:
        """The versions of *service* that hosts run, come to, or may have to go back to."""
        ledger = self._ledger
        waiting = [d.view for d in ledger.under_way.values() if d.view.service == service]
        named = frozenset(view.version for view in waiting) | self._prefetches.versions_of(service)
        return named | versions_in_use(
            service,
            [(conducted, self._cells.get(c).evidence) for c, conducted in ledger.conducted.items()],
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
        async with self._ledger.lock:
            await self._approvals.look()
            await self._prefetches.end_of_all_but(self._waiting())
            for cell in self._ledger.conducted:
                sight = self._ledger.sight(cell)
                change = conduct(
                    sight.conducted,
                    sight.evidence,
                    sight.alive,
                    sight.now,
                    lease_seq_seen=self._cells.get(cell).lease_seq_max(),
                )
                if change != (sight.conducted, []):
                    await self._ledger.commit([change])

    # -- what operators ask ------------------------------------------------------------------

    async def plan(self, request: RolloutRequest) -> RolloutPlanView:
        """What the rollout would do; changes nothing."""
        async with self._ledger.lock:
            view = (await self._draft(request, RolloutId("plan"))).view
            return msgspec.structs.replace(view, reasons=[*view.reasons, *self._approvals.needed()])

    async def apply(self, request: RolloutRequest) -> RolloutView:
        """Accept the rollout; returns as soon as it is stored, and issued if it needs no more."""
        async with self._ledger.lock:
            draft = await self._draft(request, await self._rollouts.next_id(request.service))
            refuse_other_index(draft)
            cells = {p.plan.cell: self._ledger.sight(p.plan.cell) for p in draft.cell_plans}
            self._ledger.refuse_if_under_way(request.service, [*cells])
            document, changes = open_draft(draft, cells)
            if self._signers.is_alone_enough:
                await self._ledger.commit(changes, document)
            else:
                await self._approvals.begin(document, request, changes)
                await self._bring_ahead(draft.rollout_id, request)
            log.info("rollout-accepted", rollout=draft.rollout_id, version=request.version)
            return await self.get(draft.rollout_id)

    async def proposal(self, rollout: RolloutId) -> RolloutProposal:
        """What people sign; raises RefusedError when the rollout waits for no signatures."""
        document = await self._ledger.find(rollout)
        if document.approval is None and self._signers.are_taking_over:
            return await self._standing.proposal(document)
        return self._approvals.proposal(document)

    async def standing(self) -> Sequence[StandingView]:
        """What stands and needs signatures of the keys that take over; empty without such."""
        return await self._standing.unsigned()

    async def sign(self, rollout: RolloutId, request: ApprovalRequest) -> RolloutView:
        """Take a signature; with the last that it needs the rollout begins, or fails at once.

        What stands already begins nothing.
        """
        async with self._ledger.lock:
            document = await self._ledger.find(rollout)
            if document.approval is None and self._signers.are_taking_over:
                await self._standing.take(document, request)
            else:
                await self._approvals.take(document, request)
            return await self.get(rollout)

    async def history(self, *, service: str, limit: int, after: str) -> Sequence[RolloutView]:
        """Rollouts, newest first, of one service or of all."""
        found = await self._rollouts.history(service=service, limit=limit, after=after)
        return [self._ledger.show(document) for document in found]

    async def get(self, rollout: RolloutId) -> RolloutView:
        """One rollout as it stands, and how its release spreads."""
        view = self._ledger.show(await self._ledger.find(rollout))
        return await self.spreads.with_swarm(view)

    async def spread(self, rollout: RolloutId) -> SpreadView:
        """How the release of one rollout spread, with the curve; raises NotFoundError."""
        await self._ledger.find(rollout)
        return await self.spreads.find(rollout)

    async def steer(self, rollout: RolloutId, verb: Verb) -> RolloutView:
        """Pause, resume, abort or revert; raises RefusedError when its state forbids it."""
        ledger = self._ledger
        async with ledger.lock:
            document = await ledger.find(rollout)
            if document.approval is not None and verb == "abort":
                await self._approvals.abort(document)
                await self._prefetches.end_of_all_but(self._waiting())
            else:
                cells = [ledger.sight(cell) for cell in document.cells]
                changes = steer(ledger.show(document), verb, cells)
                if verb == "revert":
                    refuse_unbelieved(document.view, [self._cells.get(c) for c in document.cells])
                await ledger.commit(changes, *([] if rollout in ledger.under_way else [document]))
            log.info("rollout-steered", rollout=rollout, verb=verb)
            return await self.get(rollout)

    async def excuse(
        self, rollout: RolloutId, hosts: tuple[HostName, ...], reason: str
    ) -> RolloutView:
        """Go on without these hosts, as far as each fault domain tolerates it."""
        ledger = self._ledger
        async with ledger.lock:
            document = await ledger.find(rollout)
            cells = [ledger.sight(cell) for cell in document.cells]
            await ledger.commit(excuse_hosts(ledger.show(document), hosts, reason, cells))
            return ledger.show(document)

    async def why(self, rollout: RolloutId, host: str) -> Sequence[Reason]:
        """Why the rollout, or one host of it, stands where it stands."""
        document = await self._ledger.find(rollout)
        view = await self.spreads.with_swarm(self._ledger.show(document))
        if not host or document.approval is not None:
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
        of_cell = reasons_of_cell(view, name, self._ledger.sight(replica.cell))
        return [*reasons_of_host(view, name, said, answer), *of_cell]

    async def hosts(self, rollout: RolloutId) -> Sequence[RolloutHost]:
        """How far each host is with one rollout."""
        document = await self._ledger.find(rollout)
        cells = [(self._ledger.sight(c), self._cells.get(c).hosts) for c in document.cells]
        return rows_of_hosts(self._ledger.show(document), cells)

    def _waiting(self) -> Mapping[RolloutId, RolloutDocument]:
        """Rollouts that wait for signatures."""
        under_way = self._ledger.under_way
        return {name: each for name, each in under_way.items() if each.approval is not None}

    async def _bring_ahead(self, rollout: RolloutId, request: RolloutRequest) -> None:
        """Hosts fetch while people sign; with enough signatures already they have the PLAN."""
        document = self._waiting().get(rollout)
        if document is None or document.approval is None:
            return
        build = document.approval.rollouts()[0].build
        await self._prefetches.bring_ahead(request, build, rollout, document.approval.expires_at)

    async def _draft(self, request: RolloutRequest, rollout_id: RolloutId) -> Draft:
        found = await self._surveyor.survey(request)
        return draft_rollout(
            request,
            rollout_id,
            found.build,
            found.limits,
            found.cells,
            self._ledger.clock(),
            rollout_seq=found.rollout_seq,
        )
