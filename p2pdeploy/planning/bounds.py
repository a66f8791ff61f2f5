"""The ROLLOUT of a plan: what people or CI are asked to sign.  Pure."""

from __future__ import annotations

from p2pdeploy.messages.orders import Rollout, Target
from p2pdeploy.planning.planner import CellPlan

__all__ = ["bounds_of"]


def bounds_of(
    cell_plan: CellPlan, *, rollout_seq: int, target: Target, failure_fraction_max: float
) -> Rollout:
    """The bounds that *cell_plan* just fits in; nothing that follows from them goes further.

    Args:
        cell_plan: One cell's part of the rollout.
        rollout_seq: Above every one of the service that was ever used or seen, in any cell.
        target: Whom the request names, of this cell.
        failure_fraction_max: The share of each fault domain that may fail, as asked for.
    """
    plan = cell_plan.plan
    targets = {m.host for m in cell_plan.roster.members} | {*cell_plan.absent}
    return Rollout(
        cell=plan.cell,
        service=plan.service,
        rollout_id=plan.rollout_id,
        rollout_seq=rollout_seq,
        build=plan.build,
        baseline=plan.baseline,
        target=target,
        failure_fraction_max=failure_fraction_max,
        max_unavailable=plan.max_unavailable,
        bake_s=plan.bake_s,
        settle_s=plan.settle_s,
        activation_max_s=plan.activation_max_s,
        lease_s=plan.lease_s,
        clock_error_s=plan.clock_error_s,
        issued_at=plan.issued_at,
        expires_at=plan.expires_at,
        bare=cell_plan.revert.bare,
        settled_hosts=tuple(host for host in cell_plan.concerned if host not in targets),
    )
