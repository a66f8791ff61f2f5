"""An approved rollout is opened: planned anew, inside what was signed.  Pure.

Hours may have passed since it was asked for: hosts came and went.  The plan is made of the facts
of now, and judged by the very rule that every host judges it by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from p2pdeploy.activation.bounds import plan_bounds, revert_bounds
from p2pdeploy.activation.lease import Hold
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.messages.orders import Build, Rollout
from p2pdeploy.planning.conductor import open_rollout
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2ptracker.rollouts.view import CellSight, Change

__all__ = ["open_approved"]


def open_approved(
    rollouts: Sequence[Rollout],
    cells: Mapping[CellId, tuple[CellSight, CellFacts]],
    build: Build,
    limits: Limits,
    now: float,
) -> list[Change]:
    """Plan every cell that has a host alive, under its signed ROLLOUT.

    Args:
        rollouts: As signed, one for each of *cells* and in their order.
        cells: What is known of each now.
        build: The release as the registry has it now.
        limits: As asked for.
        now: Seconds since the epoch.

    Raises:
        RefusedError: hosts would refuse the plan (``stale-approval``), or no host is alive.
    """
    changes: list[Change] = []
    for rollout, (sight, facts) in zip(rollouts, cells.values(), strict=True):
        cell_plan = _planned(rollout, facts, build, limits, now)
        if cell_plan is None:
            continue  # nobody is there to do it, as when a rollout is planned
        if hold := _outside(rollout, cell_plan):
            raise RefusedError(f"{hold.message} in {facts.cell}", code="stale-approval")
        words = sight.evidence.get(rollout.service, {})
        changes.append(open_rollout(sight.conducted, rollout, cell_plan, words))
    if not changes:
        raise RefusedError("no target host is alive", hint="p2pctl hosts", code="none-alive")
    return changes


def _outside(rollout: Rollout, cell_plan: CellPlan) -> Hold | None:
    """What a host of the roster would say against the plan, or its way back."""
    fresh, roster = ServiceRecord(service=rollout.service), cell_plan.roster
    revert, me = cell_plan.revert, roster.members[0].host
    return plan_bounds(cell_plan.plan, roster, rollout, fresh) or revert_bounds(
        revert.for_host(me), roster, rollout, fresh, me
    )


def _planned(
    rollout: Rollout, facts: CellFacts, build: Build, limits: Limits, now: float
) -> CellPlan | None:
    """The plan of one cell; a host that came back since does not raise the approved limit.

    Who goes back to nothing stands in the ROLLOUT, whatever came to run there since.
    """
    facts = msgspec.structs.replace(facts, bare=rollout.bare)

    def plan(limits: Limits) -> CellPlan | None:
        return plan_cell(
            facts,
            service=rollout.service,
            build=build,
            rollout_id=rollout.rollout_id,
            limits=limits,
            now=now,
        )

    found = plan(limits)
    if found is not None and found.plan.max_unavailable > rollout.max_unavailable:
        found = plan(msgspec.structs.replace(limits, max_unavailable=rollout.max_unavailable))
    if found is None:
        return None
    expires_at = min(found.plan.expires_at, rollout.expires_at)
    return msgspec.structs.replace(
        found, plan=msgspec.structs.replace(found.plan, expires_at=expires_at)
    )
