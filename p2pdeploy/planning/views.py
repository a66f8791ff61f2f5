"""A rollout as people and scripts see it: pure functions from stored state to documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from p2pdeploy.activation.gate import evidence_hold, in_attempt, rank_in
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName, Version
from p2pdeploy.messages.api import (
    FaultDomainView,
    PlannedCell,
    PlannedFaultDomain,
    Reason,
    RolloutPlanView,
    RolloutState,
    RolloutView,
)
from p2pdeploy.messages.attestation import DISK_FULL, Attestation, Rank
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.planner import CellPlan, Limits

__all__ = ["fault_domain_views", "host_progress", "plan_view", "rollout_state", "rollout_view"]

Evidence = Mapping[HostName, Attestation]

# A rollout over several cells is as far as the cell that is least far, and as bad as the worst.
_SEVERITY: tuple[RolloutState, ...] = (
    "rolling-back",
    "running",
    "paused",
    "failed",
    "rolled-back",
    "aborted",
    "complete",
)


def _state_of(cell: CellRollout) -> RolloutState:
    if cell.phase == "reverting":
        return "rolling-back"
    if cell.phase == "activating":
        return "paused" if cell.paused else "running"
    assert cell.result, "a rollout that is done has a result"
    return cell.result


def rollout_state(cells: Sequence[CellRollout]) -> RolloutState:
    """The state of the whole rollout: the first of ``_SEVERITY`` that any cell is in."""
    states = {_state_of(cell) for cell in cells}
    return next(state for state in _SEVERITY if state in states)


def rollout_view(
    *,
    rollout_id: RolloutId,
    service: ServiceName,
    version: Version,
    created_at: float,
    finished_at: float,
    cells: Sequence[CellRollout],
    evidence: Mapping[CellId, Evidence],
) -> RolloutView:
    """Build the document of one rollout from its cells and what their hosts attest now."""
    state = rollout_state(cells)
    baselines = sorted({c.plan.baseline.version for c in cells if c.plan.baseline})
    return RolloutView(
        id=rollout_id,
        service=service,
        version=version,
        baseline=", ".join(baselines),
        state=state,
        created_at=utc(created_at),
        finished_at=utc(finished_at) if finished_at else None,
        fault_domains=[
            view
            for cell in cells
            for view in fault_domain_views(cell, evidence.get(cell.plan.cell, {}))
        ],
        reasons=[reason for cell in cells for reason in cell.reasons],
        failures=[reason for cell in cells for reason in cell.failures],
        bytes_per_host_max=max(
            (_fetched_bytes_max(cell, evidence.get(cell.plan.cell, {})) for cell in cells),
            default=0,
        ),
        absent=[host for cell in cells for host in cell.cell_plan.absent],
    )


def _fetched_bytes_max(cell: CellRollout, evidence: Evidence) -> int:
    """Of what hosts fetched for this rollout: a word under another order tells of that one's."""
    plan_seq = cell.plan.plan_seq
    words = [evidence.get(member.host) for member in cell.cell_plan.roster.members]
    ours = [word for word in words if word and word.plan_seq in (plan_seq, plan_seq + 1)]
    return max((word.fetched_bytes for word in ours), default=0)


def fault_domain_views(cell: CellRollout, evidence: Evidence) -> list[FaultDomainView]:
    """One line per fault domain, counted over the roster.

    ``failed`` counts hosts that failed at any time under this plan, also once they are back.
    """
    plan = cell.plan
    ranks: list[dict[str, int]] = [{} for _ in plan.fault_domains]
    failed: list[int] = [0] * len(plan.fault_domains)
    for member in cell.cell_plan.roster.members:
        shown = host_progress(cell, member.host, evidence.get(member.host))
        counts = ranks[member.fault_domain]
        counts[shown] = counts.get(shown, 0) + 1
        failed[member.fault_domain] += shown == "failed" or member.host in cell.failed
    return [
        FaultDomainView(
            cell=plan.cell,
            name=domain.name,
            total=domain.size,
            healthy=counts.get("healthy", 0),
            failed=failed[k],
            started_at=utc(began) if began else None,
            finished_at=utc(ended) if ended else None,
            states=dict(sorted(counts.items())),
            waits_for="" if ended or cell.phase != "activating" else _waits_for(cell, evidence, k),
        )
        for k, (domain, counts, began, ended) in enumerate(
            zip(plan.fault_domains, ranks, cell.began_at, cell.ended_at, strict=True)
        )
    ]


def _waits_for(cell: CellRollout, evidence: Evidence, fault_domain: int) -> str:
    """Why the first host of a fault domain that has no outcome yet does not start, by the gates."""
    plan, roster = cell.plan, cell.cell_plan.roster
    excused = frozenset(cell.excused)
    evidence = in_attempt(evidence, plan, cell.attempt)
    for member in roster.members:
        open_here = rank_in(evidence, member.host, plan) < Rank.STARTED
        if member.fault_domain == fault_domain and member.host not in excused and open_here:
            hold = evidence_hold(plan, roster, member, evidence, excused)
            return hold.message if hold else ""
    return ""


def host_progress(cell: CellRollout, host: HostName, word: Attestation | None) -> str:
    """How far one host of the roster is with this plan, in one word; its way back counts as well.

    ``unchanged`` is one that the way back found as it was: it never began.
    """
    plan_seq = cell.plan.plan_seq
    if word is None or word.plan_seq not in (plan_seq, plan_seq + 1):
        return "waiting" if word is None or word.plan_seq < plan_seq else "moved-on"
    if word.plan_seq == plan_seq + 1:
        if word.rank >= Rank.FAILED:
            return "failed"
        if word.rank is not Rank.HEALTHY:
            return "rolling-back"
        return "rolled-back" if host in cell.moved else "unchanged"
    match word.rank:
        case Rank.NONE:
            return "waiting"
        case Rank.ACCEPTED:
            return DISK_FULL if word.reason_code == DISK_FULL else "fetching"
        case Rank.STAGED:
            return "staged"
        case Rank.STARTED:
            return word.state
        case Rank.HEALTHY:
            return "healthy"
        case Rank.FAILED | Rank.REGRESSED:
            return "failed"


def plan_view(
    *,
    service: ServiceName,
    version: Version,
    limits: Limits,
    cells: Sequence[CellPlan],
    current: Mapping[CellId, str],
    check_index: str,
    reasons: Sequence[Reason] = (),
) -> RolloutPlanView:
    """Show what a rollout would do and every limit in force."""
    changes = sum(len(c.roster.members) - len(c.unchanged) for c in cells)
    plans = [cell.plan for cell in cells]
    return RolloutPlanView(
        service=service,
        version=version,
        changes=changes,
        check_index=check_index,
        max_unavailable=max((plan.max_unavailable for plan in plans), default=0),
        failure_fraction_max=limits.failure_fraction_max,
        brakes_max=max((plan.brakes_max for plan in plans), default=0),
        bake_s=limits.bake_s,
        settle_s=limits.settle_s,
        activation_max_s=limits.activation_max_s,
        lease_s=plans[0].lease_s if plans else 0.0,
        cells=[_planned(cell, current.get(cell.plan.cell, "")) for cell in cells],
        reasons=list(reasons),
    )


def _planned(cell: CellPlan, current: str) -> PlannedCell:
    plan = cell.plan
    return PlannedCell(
        cell=plan.cell,
        current=current,
        baseline=plan.baseline.version if plan.baseline else "",
        fault_domains=[
            PlannedFaultDomain(
                name=domain.name,
                hosts=domain.size,
                batches=list(domain.batches),
                failures_max=domain.failures_max,
            )
            for domain in plan.fault_domains
        ],
        absent=list(cell.absent),
        unchanged=list(cell.unchanged),
    )


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as an aware UTC time, whole milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)
