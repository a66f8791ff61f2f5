"""What one service should do next, as a function of everything the host knows.

``decide`` returns one step: record an outcome, accept, stage, start, or what it waits for.
Order of the checks: the order itself, the bytes, the hosts before me, the lease.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.gate import (
    attempt_hold,
    brakes_hold,
    evidence_hold,
    in_attempt,
    interlock_hold,
    live_hold,
    member_of,
)
from p2pdeploy.activation.lease import Hold, clock_hold, grant_of
from p2pdeploy.activation.permission import (
    ROSTER_UNKNOWN,
    Context,
    bounds_hold,
    go_hold,
    needs_lease,
)
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.activation.service import Duty, Slot
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Build, Plan, Revert, Roster, RosterMember, Settled

__all__ = ["Decision", "decide"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One step.  ``record`` is to be persisted, ``stage`` fetched, ``start`` begun."""

    hold: Hold | None = None
    record: ServiceRecord | None = None
    stage: Build | None = None
    start: Started | None = None


def decide(slot: Slot, context: Context, *, busy_with: ServiceName | None) -> Decision:
    """The next step of *slot*; pure.

    Args:
        slot: The service; must have no change under way.
        context: Lease, membership and clocks.
        busy_with: Another service of this host that is being changed, or None.
    """
    duty = slot.duty()
    if duty is None:
        slot.gate_open_since = None
        return Decision()
    if not slot.known:
        return Decision(hold=Hold("booting", "finding out what runs here"))
    if duty.plan_seq < slot.record.accepted_seq:
        return Decision(hold=Hold("superseded", "a newer plan was accepted already"))
    match duty:
        case Plan():
            step = _decide_plan(slot, duty, context)
        case Revert():
            step = _decide_revert(slot, duty, context)
        case Settled():
            step = _decide_settled(slot, duty, context)
    if step.start is not None and busy_with is not None:
        return Decision(hold=Hold("host-busy", f"this host is changing {busy_with} right now"))
    return step


def _accept(slot: Slot, duty: Duty) -> Decision:
    """From here on nothing below this plan_seq and attempt can start on this host."""
    record = msgspec.structs.replace(
        slot.record,
        accepted_seq=duty.plan_seq,
        accepted_attempt=slot.attempt(duty.plan_seq),
        reason_code="",
        reason="",
    )
    return Decision(record=record)


def _conclude(slot: Slot, duty: Duty, outcome: Rank) -> Decision:
    """It runs what *duty* asks for: write the outcome down, so that it is attested."""
    record = msgspec.structs.replace(
        slot.record,
        accepted_seq=duty.plan_seq,
        accepted_attempt=slot.attempt(duty.plan_seq),
        running_seq=duty.plan_seq,
        running_settled=not isinstance(duty, Plan),
        outcome_seq=duty.plan_seq,
        outcome=outcome,
        outcome_attempt=slot.attempt(duty.plan_seq),
    )
    return Decision(record=record)


def _staging(slot: Slot, build: Build | None) -> Decision | None:
    """None once *build* is on disk; otherwise fetch it, or wait while it comes."""
    if build is None or build.digest in slot.staged:
        return None
    hold = Hold("fetching", f"fetching {build.version}")
    if slot.staging == build.digest:
        return Decision(hold=slot.staging_problem or hold)
    return Decision(stage=build, hold=hold)


def _started(slot: Slot, duty: Duty, bake_s: float) -> Started:
    return Started(
        plan_seq=duty.plan_seq,
        build=duty.build,
        previous=slot.record.running if slot.record.may_start else None,
        bake_s=bake_s,
        activation_max_s=duty.activation_max_s,
        settled=not isinstance(duty, Plan),
        attempt=slot.attempt(duty.plan_seq),
    )


# -- a PLAN ----------------------------------------------------------------------------------


def _decide_plan(slot: Slot, plan: Plan, context: Context) -> Decision:
    now = context.now
    place = _place(slot, plan, context.me)
    if isinstance(place, Hold):
        return Decision(hold=place)
    roster, me = place
    if hold := bounds_hold(slot, plan):
        return Decision(hold=hold)
    if now.wall_s >= plan.expires_at:
        return Decision(hold=Hold("plan-expired", "the plan has expired"))
    if slot.has_outcome(plan.plan_seq):
        return Decision()
    accepted = (slot.record.accepted_seq, slot.record.accepted_attempt)
    if accepted < (plan.plan_seq, slot.attempt(plan.plan_seq)):
        return _accept(slot, plan)
    if slot.runs(plan.build) and slot.state == "healthy":
        return _conclude(slot, plan, Rank.HEALTHY)
    if staging := _staging(slot, plan.build):
        return staging
    if context.me in slot.excused(plan.plan_seq):
        return Decision(hold=Hold("excused", "excused from this plan; follows when it settles"))
    if hold := _plan_gate(slot, plan, roster, me, context):
        slot.gate_open_since = None
        return Decision(hold=hold)
    if slot.gate_open_since is None:
        slot.gate_open_since = now.boot_s
    opens_at = slot.gate_open_since + plan.settle_s
    if now.boot_s < opens_at:
        return Decision(
            hold=Hold("settling", f"the gate is open; {plan.settle_s:g} s to settle", opens_at)
        )
    if hold := go_hold(plan, context, me.fault_domain):
        return Decision(hold=hold)
    return Decision(start=_started(slot, plan, plan.bake_s))


def _place(slot: Slot, duty: Plan | Revert, me: HostName) -> tuple[Roster, RosterMember] | Hold:
    """The roster of *duty* and this host in it, or why that asks nothing of it."""
    roster = slot.roster_for(duty)
    if roster is None:
        return ROSTER_UNKNOWN
    place = member_of(roster, me)
    if place is None:
        return Hold("not-in-roster", "not part of this plan; follows when it settles")
    return roster, place[1]


def _plan_gate(
    slot: Slot, plan: Plan, roster: Roster, me: RosterMember, context: Context
) -> Hold | None:
    excused = slot.excused(plan.plan_seq)
    grant = grant_of(context.go, plan.service, plan.plan_seq, "activate")
    quiet_at = grant.predecessor_quiet_at if grant else float("inf")
    attempt = slot.attempt(plan.plan_seq)
    evidence = in_attempt(slot.evidence, plan, attempt)
    return (
        brakes_hold(plan, roster, evidence)
        or attempt_hold(plan, roster, evidence, excused, attempt)
        or interlock_hold(plan, roster, evidence, excused, quiet_at, context.now)
        or evidence_hold(plan, roster, me, evidence, excused)
        or live_hold(plan, roster, me, evidence, context.alive, excused)
    )


# -- a REVERT --------------------------------------------------------------------------------


def _decide_revert(slot: Slot, revert: Revert, context: Context) -> Decision:
    if isinstance(place := _place(slot, revert, context.me), Hold):
        return Decision(hold=place)
    if slot.has_outcome(revert.plan_seq):
        return Decision()
    if hold := bounds_hold(slot, revert):
        return Decision(hold=hold)
    if slot.record.accepted_seq < revert.plan_seq:
        return _accept(slot, revert)
    if slot.runs(revert.build):
        if slot.broken:
            return _conclude(slot, revert, Rank.FAILED)
        if slot.known and (revert.build is None or slot.state == "healthy"):
            return _conclude(slot, revert, Rank.HEALTHY)
        return Decision(hold=Hold("restoring", "waiting for the baseline to be healthy"))
    if staging := _staging(slot, revert.build):
        return staging
    if needs_lease(slot, revert) and (hold := go_hold(revert, context)):
        return Decision(hold=hold)
    return Decision(start=_started(slot, revert, 0.0))


# -- SETTLED ---------------------------------------------------------------------------------


def _decide_settled(slot: Slot, settled: Settled, context: Context) -> Decision:
    record = slot.record
    if settled.hosts and context.me not in settled.hosts:
        return Decision()
    if record.outcome_seq == settled.plan_seq and record.outcome is not Rank.NONE:
        return Decision()
    if hold := bounds_hold(slot, settled):
        return Decision(hold=hold)
    if not context.now.wall_s < settled.not_after:
        return Decision(hold=Hold("settled-expired", "what settled here has expired"))
    if record.accepted_seq < settled.plan_seq:
        return _accept(slot, settled)
    if slot.runs(settled.build):
        if settled.build is None or slot.state == "healthy":
            return _conclude(slot, settled, Rank.HEALTHY)
        return Decision(hold=Hold("unhealthy", "runs what settled, but not healthy yet"))
    if staging := _staging(slot, settled.build):
        return staging
    hold = clock_hold(
        context.now, time_floor=context.time_floor, clock_error_s=settled.clock_error_s
    )
    if hold is None and needs_lease(slot, settled):
        hold = go_hold(settled, context)
    if hold is not None:
        return Decision(hold=hold)
    return Decision(start=_started(slot, settled, 0.0))
