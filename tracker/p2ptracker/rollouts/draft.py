"""From a request to a draft: what a rollout would do, and what is stored if it is accepted.  Pure.

``rollout plan`` shows the draft's view; ``rollout apply`` makes the same draft again and accepts
it when its check index is still the one that was shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import Reason, RolloutPlanView, RolloutRequest, RolloutView
from p2pdeploy.messages.orders import Build, Order, Rollout, Target
from p2pdeploy.planning.bounds import bounds_of
from p2pdeploy.planning.conducted import Conducted, latest
from p2pdeploy.planning.conductor import open_rollout
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.planning.views import plan_view, rollout_view
from p2pdeploy.topology import Host
from p2ptracker.rollouts.targets import baseline_of
from p2ptracker.rollouts.view import CellSight, RolloutDocument, rollout_in

__all__ = [
    "Draft",
    "draft_rollout",
    "facts_of",
    "next_rollout_seq",
    "open_draft",
    "refuse_other_index",
]

CHECK_INDEX_CHARS = 12  # 48 bits: two plans of one service never meet by chance, and people read it


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A request, planned and not accepted yet."""

    request: RolloutRequest
    rollout_id: RolloutId
    rollout_seq: int
    build: Build
    cell_plans: tuple[CellPlan, ...]
    view: RolloutPlanView
    drafted_at: float  # seconds since the epoch


def facts_of(
    request: RolloutRequest, cell: CellSight, hosts: tuple[Host, ...], *, size: int, seq_seen: int
) -> CellFacts:
    """What the planner needs to know of one cell.

    Args:
        request: Names the service.
        cell: What is known of the cell.
        hosts: The targets in it.
        size: How many hosts the cell has.
        seq_seen: The highest plan number that the cell's state names.
    """
    words = cell.evidence.get(request.service, {})
    entry = latest(cell.conducted, request.service)
    used = entry.rollout.plan.plan_seq if entry else 0
    baseline = baseline_of(cell.conducted.settled.get(request.service), words, hosts)
    return CellFacts(
        cell=cell.conducted.cell,
        hosts=hosts,
        alive=cell.alive,
        evidence=words,
        baseline=baseline.build,
        bare=baseline.bare,
        settled_hosts=baseline.settled_hosts,
        plan_seq_max=max(seq_seen, used),
        whole_cell=len(hosts) == size,
    )


def next_rollout_seq(service: ServiceName, cells: Iterable[Conducted], seen: Iterable[int]) -> int:
    """Above every ROLLOUT of *service* that is stored, or (*seen*) that any cell knows of.

    Hosts believe no ROLLOUT below the highest they saw, and after an older database was restored
    they have seen higher ones than are stored.
    """
    stored = [entry.rollout.rollout_seq for cell in cells if (entry := latest(cell, service))]
    return 1 + max((*stored, *seen), default=0)


def draft_rollout(
    request: RolloutRequest,
    rollout_id: RolloutId,
    build: Build,
    limits: Limits,
    cells: Mapping[CellId, tuple[CellSight, CellFacts]],
    now: float,
    *,
    rollout_seq: int,
) -> Draft:
    """Plan every cell.

    Args:
        request: Names service and target.
        rollout_id: The id it gets when it is accepted.
        build: The release.
        limits: Those in force.
        cells: Every cell with targets, and what is known of it.
        now: Seconds since the epoch.
        rollout_seq: From ``next_rollout_seq``.

    Raises:
        RefusedError: no target host is alive, or the limits are not sensible.
    """
    service = request.service
    plan = partial(
        plan_cell, service=service, build=build, rollout_id=rollout_id, limits=limits, now=now
    )
    planned = {cell: plan(facts) for cell, (_, facts) in cells.items()}
    cell_plans = tuple(found for found in planned.values() if found is not None)
    if not cell_plans:
        raise RefusedError("no target host is alive", hint="p2pctl hosts", code="none-alive")
    view = plan_view(
        service=service,
        version=request.version,
        limits=limits,
        cells=cell_plans,
        current={cell: _current(request, sight.conducted) for cell, (sight, _) in cells.items()},
        check_index="",
        reasons=[_left_out(cells[cell][1]) for cell, found in planned.items() if found is None],
    )
    return Draft(
        request=request,
        rollout_id=rollout_id,
        rollout_seq=rollout_seq,
        build=build,
        cell_plans=cell_plans,
        view=_indexed(view),
        drafted_at=now,
    )


def _indexed(view: RolloutPlanView) -> RolloutPlanView:
    """With the check index, which is made from all the rest."""
    index = digest_of(msgspec.json.encode(view))[:CHECK_INDEX_CHARS]
    return msgspec.structs.replace(view, check_index=index)


def _current(request: RolloutRequest, conducted: Conducted) -> str:
    settled = conducted.settled.get(request.service)
    return settled.build.version if settled and settled.build else ""


def _left_out(facts: CellFacts) -> Reason:
    return Reason(
        code="cell-down",
        message=f"{facts.cell} is left out: none of its {len(facts.hosts)} target hosts is alive",
    )


def refuse_other_index(draft: Draft) -> None:
    """Raise RefusedError when the caller was shown another plan than this one."""
    wanted = draft.request.check_index
    if wanted and wanted != draft.view.check_index:
        raise RefusedError(
            f"the plan changed since it was shown: now {draft.view.check_index}",
            hint="look at 'p2pctl rollout plan' again",
            code="check-index",
        )


def open_draft(
    draft: Draft, cells: Mapping[CellId, CellSight]
) -> tuple[RolloutDocument, list[tuple[Conducted, list[Order]]]]:
    """Accept a draft: what to store of it, and of each cell what to store and what to issue."""
    request = draft.request
    changes = [_open_in(cells[plan.plan.cell], draft, plan) for plan in draft.cell_plans]
    view: RolloutView = rollout_view(
        rollout_id=draft.rollout_id,
        service=request.service,
        version=request.version,
        created_at=draft.drafted_at,
        finished_at=0.0,
        cells=[rollout_in(conducted, request.service) for conducted, _ in changes],
        evidence={},
    )
    return RolloutDocument(cells=tuple(c.cell for c, _ in changes), view=view), changes


def _open_in(cell: CellSight, draft: Draft, cell_plan: CellPlan) -> tuple[Conducted, list[Order]]:
    words = cell.evidence.get(draft.request.service, {})
    return open_rollout(cell.conducted, _rollout(draft, cell_plan), cell_plan, words)


def _rollout(draft: Draft, cell_plan: CellPlan) -> Rollout:
    request = draft.request
    return bounds_of(
        cell_plan,
        rollout_seq=draft.rollout_seq,
        target=Target(
            environment=request.environment,
            machine_function=request.machine_function,
            hosts=_named_in(request, cell_plan),
        ),
        failure_fraction_max=request.failure_fraction_max,
    )


def _named_in(request: RolloutRequest, cell_plan: CellPlan) -> tuple[HostName, ...]:
    """The named targets of this cell only: an order has to fit one envelope in a large fleet."""
    here = {member.host for member in cell_plan.roster.members} | {*cell_plan.absent}
    return tuple(name for name in request.hosts if name in here)
