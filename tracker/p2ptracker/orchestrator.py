"""The orchestrator: carries out what ``p2pdeploy.planning`` decides, for every cell.

It stores first and issues after; a kill in between repeats orders, which are registers that
only rise.  One lock covers a look, a new rollout and an operator's word, so none sees half of
another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import (
    FINAL_STATES,
    Reason,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
)
from p2pdeploy.messages.orders import Build, Order, Rollout, Target
from p2pdeploy.planning.cell_rollout import CellRollout, View, ask_abort, excuse
from p2pdeploy.planning.conductor import (
    Conducted,
    conduct,
    latest,
    open_rollout,
    replace_rollout,
)
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.planning.views import plan_view, rollout_view
from p2pdeploy.topology import Host
from p2ptracker.api.rollouts import Verb
from p2ptracker.cells import CellReplica, Cells
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import find_release
from p2ptracker.storage.rollouts import (
    RolloutRow,
    cell_record_documents,
    count_rollouts,
    find_rollout,
    list_rollouts,
    open_rollouts,
    save_cell_record,
    save_rollout,
)
from p2ptracker.targets import baseline_of, hosts_by_cell, limits_of, read_service_spec

__all__ = ["Orchestrator"]

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5  # what a cell says is acted on within this time
DOCUMENT_BYTES_MAX = 64 * 1024 * 1024  # our own rows; bounds a damaged database


class RolloutDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one rollout.  ``view`` is as of the last change, whole once final."""

    cells: tuple[CellId, ...]
    view: RolloutView


class _Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A request, planned and not accepted yet."""

    build: Build
    limits: Limits
    cell_plans: tuple[CellPlan, ...]
    view: RolloutPlanView


class Orchestrator:
    """The rollouts of the whole fleet; implements ``RolloutDesk``.

    Args:
        cells: Replicas to read evidence from and to issue orders through.
        inventory: Every host.
        database, store: Where rollouts and releases are.
        settle_s: How long a gate must stay open when a request does not say.
    """

    def __init__(
        self,
        cells: Cells,
        inventory: Sequence[Host],
        database: Database,
        store: BlobStore,
        *,
        settle_s: float,
    ) -> None:
        self._cells, self._inventory = cells, inventory
        self._database, self._store = database, store
        self._settle_s = settle_s
        self._conducted = {r.cell: Conducted(cell=r.cell) for r in cells.all()}
        self._open: dict[RolloutId, RolloutDocument] = {}
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Orchestrator {len(self._open)} open rollouts in {len(self._conducted)} cells>"

    async def load(self) -> None:
        """Go on where the last process stopped."""
        rows = await self._database.read(open_rollouts)
        for cell, document in (await self._database.read(cell_record_documents)).items():
            if cell in self._conducted:
                self._conducted[cell] = decode(document, Conducted, bytes_max=DOCUMENT_BYTES_MAX)
        self._open = {row.id: _document(row) for row in rows}

    async def conduct_cells(self) -> None:
        """Task: look at every cell twice a second, and do what the conductor says."""
        while True:
            async with self._lock:
                for replica in self._cells.all():
                    await self._look(replica)
            await trio.sleep(LOOK_EVERY_S)

    async def _look(self, replica: CellReplica) -> None:
        before = self._conducted[replica.cell]
        alive = replica.alive(trio.current_time())
        after, orders = conduct(before, replica.evidence, alive, time.time())
        if after != before or orders:
            await self._commit(after, orders)

    async def _commit(self, conducted: Conducted, orders: Sequence[Order]) -> None:
        """Store the cell and every rollout that changed with it; then issue."""
        self._conducted[conducted.cell] = conducted
        rows: list[RolloutRow] = []
        for rollout_id, document in list(self._open.items()):
            if conducted.cell in document.cells:
                rows += self._refresh(rollout_id, document)

        def work(connection: sa.Connection) -> None:
            save_cell_record(connection, conducted.cell, encode(conducted))
            for row in rows:
                save_rollout(connection, row)

        await self._database.write(work)
        if orders:
            await self._cells.issue(conducted.cell, orders)
            for order in orders:
                log.info("order-issued", cell=conducted.cell, order=type(order).__name__)

    def _refresh(self, rollout_id: RolloutId, document: RolloutDocument) -> list[RolloutRow]:
        view = self._live_view(document.view, document.cells)
        if view.state == document.view.state and view.state not in FINAL_STATES:
            return []
        log.info("rollout-state", rollout=rollout_id, state=view.state)
        self._open[rollout_id] = msgspec.structs.replace(document, view=view)
        row = _row(self._open[rollout_id])
        if row.is_final:
            del self._open[rollout_id]
        return [row]

    # -- what operators ask ------------------------------------------------------------------

    async def plan(self, request: RolloutRequest) -> RolloutPlanView:
        """What the rollout would do; changes nothing."""
        async with self._lock:
            return (await self._draft(request, RolloutId("plan"))).view

    async def apply(self, request: RolloutRequest) -> RolloutView:
        """Accept the rollout; returns as soon as it is stored and issued."""
        async with self._lock:
            service = request.service
            number = await self._database.read(lambda c: count_rollouts(c, service))
            rollout_id = RolloutId(f"{service}-{number + 1}")
            draft = await self._draft(request, rollout_id)
            if request.check_index and request.check_index != draft.view.check_index:
                raise RefusedError(
                    f"the plan changed since it was shown: now {draft.view.check_index}",
                    hint="look at 'p2pctl rollout plan' again",
                    code="check-index",
                )
            self._refuse_if_under_way(service, [c.plan.cell for c in draft.cell_plans])
            return await self._open_rollout(request, rollout_id, draft)

    async def _open_rollout(
        self, request: RolloutRequest, rollout_id: RolloutId, draft: _Draft
    ) -> RolloutView:
        opened: list[tuple[Conducted, list[Order]]] = []
        for cell_plan in draft.cell_plans:
            cell = cell_plan.plan.cell
            bounds = _bounds(request, rollout_id, draft, cell_plan)
            words = self._cells.get(cell).evidence.get(request.service, {})
            opened.append(open_rollout(self._conducted[cell], bounds, cell_plan, words))
        cells = tuple(conducted.cell for conducted, _ in opened)
        for conducted, _ in opened:
            self._conducted[conducted.cell] = conducted
        now = time.time()
        view = rollout_view(
            rollout_id=rollout_id,
            service=request.service,
            version=request.version,
            created_at=now,
            finished_at=0.0,
            cells=[self._rollout_in(cell, request.service) for cell in cells],
            evidence={},
        )
        document = RolloutDocument(cells=cells, view=view)
        await self._database.write(lambda c: save_rollout(c, _row(document)))
        self._open[rollout_id] = document
        for conducted, orders in opened:
            await self._commit(conducted, orders)
        log.info("rollout-accepted", rollout=rollout_id, version=request.version)
        return view

    async def history(self, *, service: str, limit: int, after: str) -> Sequence[RolloutView]:
        """Rollouts, newest first, of one service or of all."""
        rows = await self._database.read(
            lambda c: list_rollouts(c, service=service, limit=limit, after=after)
        )
        return [self._show(_document(row)) for row in rows]

    async def get(self, rollout: RolloutId) -> RolloutView:
        """One rollout as it stands."""
        return self._show(await self._find(rollout))

    async def steer(self, rollout: RolloutId, verb: Verb) -> RolloutView:
        """Pause, resume, abort or revert; raises RefusedError when its state forbids it."""
        async with self._lock:
            document = await self._find(rollout)
            state = self._show(document).state
            service = document.view.service
            _refuse_verb(verb, state, rollout)
            for cell in document.cells:
                conducted = self._conducted[cell]
                entry = latest(conducted, service)
                if entry is None or entry.rollout_id != rollout:
                    raise RefusedError(
                        f"{rollout} is not the newest rollout of {service} in {cell}",
                        hint="revert the newest one, or roll the older version out",
                        code="superseded",
                    )
                changed, orders = _steered(entry.rollout, verb, time.time())
                self._open.setdefault(rollout, document)
                await self._commit(replace_rollout(conducted, changed), orders)
            log.info("rollout-steered", rollout=rollout, verb=verb)
            return self._show(await self._find(rollout))

    async def excuse(
        self, rollout: RolloutId, hosts: tuple[HostName, ...], reason: str
    ) -> RolloutView:
        """Go on without these hosts, as far as each fault domain tolerates it."""
        async with self._lock:
            document = await self._find(rollout)
            if rollout not in self._open:
                raise RefusedError(f"{rollout} is {document.view.state}", code="not-running")
            for cell in document.cells:
                replica = self._cells.get(cell)
                service = document.view.service
                words = replica.evidence.get(service, {})
                view = View(words, replica.alive(trio.current_time()), time.time())
                changed, orders, refusal = excuse(
                    self._rollout_in(cell, service), hosts, reason, view
                )
                if refusal:
                    raise RefusedError(refusal, code="too-many-excused")
                await self._commit(replace_rollout(self._conducted[cell], changed), orders)
            return self._show(await self._find(rollout))

    async def why(self, rollout: RolloutId, host: str) -> Sequence[Reason]:
        """Why the rollout, or one host of it, stands where it stands."""
        document = await self._find(rollout)
        view = self._show(document)
        if not host:
            waits = [
                Reason(code="waits", message=d.waits_for, fault_domain=d.name)
                for d in view.fault_domains
                if d.waits_for
            ]
            return [*view.reasons, *waits]
        words = [
            self._cells.get(cell).evidence.get(view.service, {}).get(HostName(host))
            for cell in document.cells
        ]
        found = next((word for word in words if word is not None), None)
        if found is None:
            raise NotFoundError(f"{host!r} has said nothing about {view.service}", code="no-host")
        text = found.reason or f"plan {found.plan_seq}: {found.rank.name.lower()}, {found.state}"
        domain = next((d for d in view.fault_domains if d.name == found.fault_domain), None)
        text += f"; {domain.waits_for}" if domain and domain.waits_for else ""
        code = found.reason_code or found.rank.name.lower()
        return [Reason(code=code, message=text, host=host, fault_domain=found.fault_domain)]

    # -- planning ----------------------------------------------------------------------------

    async def _draft(self, request: RolloutRequest, rollout_id: RolloutId) -> _Draft:
        release = await self._database.read(
            lambda c: find_release(c, request.service, request.version)
        )
        if release is None:
            raise NotFoundError(
                f"{request.service} {request.version} is not published",
                hint=f"p2pctl publish {request.service} {request.version} PATH",
                code="no-release",
            )
        spec = await trio.to_thread.run_sync(
            read_service_spec, self._store, release.manifest_digest
        )
        limits = limits_of(request, spec, settle_s=self._settle_s)
        build = Build(version=request.version, digest=release.manifest_digest)
        targets = hosts_by_cell(request, self._inventory)
        planned = [
            plan_cell(
                self._facts(cell, hosts, request.service),
                service=request.service,
                build=build,
                rollout_id=rollout_id,
                limits=limits,
                now=time.time(),
            )
            for cell, hosts in targets.items()
        ]
        cell_plans = tuple(plan for plan in planned if plan is not None)
        if not cell_plans:
            raise RefusedError("no target host is alive", hint="p2pctl hosts", code="none-alive")
        view = plan_view(
            service=request.service,
            version=request.version,
            limits=limits,
            cells=cell_plans,
            current={c: self._current(c, request.service) for c in targets},
            check_index="",
        )
        index = digest_of(msgspec.json.encode(view))[:12]
        view = msgspec.structs.replace(view, check_index=index)
        return _Draft(build=build, limits=limits, cell_plans=cell_plans, view=view)

    def _facts(self, cell: CellId, hosts: tuple[Host, ...], service: ServiceName) -> CellFacts:
        replica, conducted = self._cells.get(cell), self._conducted[cell]
        words = replica.evidence.get(service, {})
        entry = latest(conducted, service)
        used = entry.rollout.plan.plan_seq if entry else 0
        return CellFacts(
            cell=cell,
            hosts=hosts,
            alive=replica.alive(trio.current_time()),
            evidence=words,
            baseline=baseline_of(conducted.settled.get(service), words, hosts),
            plan_seq_max=max(replica.plan_seq_max(service), used),
            whole_cell=len(hosts) == len(replica.hosts),
        )

    def _current(self, cell: CellId, service: ServiceName) -> str:
        settled = self._conducted[cell].settled.get(service)
        return settled.build.version if settled and settled.build else ""

    def _refuse_if_under_way(self, service: ServiceName, cells: Sequence[CellId]) -> None:
        for rollout_id, document in self._open.items():
            if document.view.service == service and not set(cells).isdisjoint(document.cells):
                raise RefusedError(
                    f"rollout {rollout_id} of {service} is still under way",
                    hint=f"wait for it, or 'p2pctl rollout abort {rollout_id}'",
                    code="rollout-under-way",
                )

    # -- showing -----------------------------------------------------------------------------

    async def _find(self, rollout: RolloutId) -> RolloutDocument:
        if rollout in self._open:
            return self._open[rollout]
        row = await self._database.read(lambda c: find_rollout(c, rollout))
        if row is None:
            raise NotFoundError(
                f"there is no rollout {rollout!r}", hint="p2pctl rollout history", code="no-rollout"
            )
        return _document(row)

    def _rollout_in(self, cell: CellId, service: ServiceName) -> CellRollout:
        entry = latest(self._conducted[cell], service)
        assert entry is not None, "an open rollout has an entry in each of its cells"
        return entry.rollout

    def _show(self, document: RolloutDocument) -> RolloutView:
        if document.view.id not in self._open:
            return document.view
        return self._live_view(document.view, document.cells)

    def _live_view(self, last: RolloutView, cells: Sequence[CellId]) -> RolloutView:
        rollouts = [self._rollout_in(cell, last.service) for cell in cells]
        done = all(rollout.phase == "done" for rollout in rollouts)
        return rollout_view(
            rollout_id=last.id,
            service=last.service,
            version=last.version,
            created_at=last.created_at.timestamp(),
            finished_at=time.time() if done else 0.0,
            cells=rollouts,
            evidence={cell: self._cells.get(cell).evidence.get(last.service, {}) for cell in cells},
        )


def _steered(rollout: CellRollout, verb: Verb, now: float) -> tuple[CellRollout, list[Order]]:
    match verb:
        case "pause" | "resume":
            return msgspec.structs.replace(rollout, paused=verb == "pause"), []
        case "abort":
            reason = Reason(code="operator", message="aborted by an operator")
            return ask_abort(rollout, result="aborted", reason=reason, now=now)
        case "revert":
            reason = Reason(code="operator", message="reverted by an operator")
            return ask_abort(rollout, result="rolled-back", reason=reason, now=now)


_STATES_FOR: dict[Verb, tuple[str, ...]] = {
    "pause": ("running",),
    "resume": ("paused",),
    "abort": ("running", "paused"),
    "revert": ("running", "paused", "complete"),
}


def _refuse_verb(verb: Verb, state: str, rollout: RolloutId) -> None:
    if state not in _STATES_FOR[verb]:
        raise RefusedError(
            f"{rollout} is {state}, so it cannot be asked to {verb}",
            hint=f"possible while {' or '.join(_STATES_FOR[verb])}",
            code="wrong-state",
        )


def _bounds(
    request: RolloutRequest, rollout_id: RolloutId, draft: _Draft, cell_plan: CellPlan
) -> Rollout:
    plan = cell_plan.plan
    return Rollout(
        rollout_id=rollout_id,
        service=request.service,
        build=draft.build,
        target=Target(
            environment=request.environment,
            machine_function=request.machine_function,
            hosts=request.hosts,
        ),
        failure_fraction_max=request.failure_fraction_max,
        max_unavailable=plan.max_unavailable,
        issued_at=plan.issued_at,
        expires_at=plan.expires_at,
    )


def _row(document: RolloutDocument) -> RolloutRow:
    view = document.view
    return RolloutRow(
        id=view.id,
        service=view.service,
        version=view.version,
        state=view.state,
        is_final=view.state in FINAL_STATES,
        created_at=view.created_at.timestamp(),
        document=encode(document),
    )


def _document(row: RolloutRow) -> RolloutDocument:
    return decode(row.document, RolloutDocument, bytes_max=DOCUMENT_BYTES_MAX)
