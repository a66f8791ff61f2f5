"""Whether people and the control plane allow an order now: its bounds, and a GO that covers it."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.bounds import (
    excuse_bounds,
    plan_bounds,
    retry_bounds,
    revert_bounds,
    settled_bounds,
)
from p2pdeploy.activation.events import Now
from p2pdeploy.activation.gate import member_of
from p2pdeploy.activation.lease import Hold, ReceivedGo, clock_hold, grant_of, lease_hold
from p2pdeploy.activation.record import Started
from p2pdeploy.activation.service import Duty, Slot
from p2pdeploy.ids import HostName
from p2pdeploy.limits import LEASE_S
from p2pdeploy.messages.orders import Plan, Revert, Settled

__all__ = ["ROSTER_UNKNOWN", "Context", "bounds_hold", "go_hold", "last_look", "needs_lease"]

ROSTER_UNKNOWN = Hold("roster-unknown", "the plan's roster has not arrived yet")


class Context(msgspec.Struct, frozen=True):
    """What a decision depends on beside the service itself."""

    me: HostName
    go: ReceivedGo | None
    alive: frozenset[HostName]
    time_floor: float
    now: Now


def last_look(slot: Slot, started: Started, context: Context) -> Hold | None:
    """After STARTED is on disk: may it still go on?  None: yes."""
    if started.plan_seq <= slot.record.watermark:
        return Hold("aborted", "the plan was aborted at the last moment")
    duty = slot.duty()
    if duty is None or duty.plan_seq != started.plan_seq:
        return Hold("superseded", "another order governs now")
    if started.attempt < slot.attempt(started.plan_seq):
        return Hold("superseded", "the plan is tried anew")
    if hold := bounds_hold(slot, duty):
        return hold
    if isinstance(duty, Plan) and context.me in slot.excused(duty.plan_seq):
        return Hold("excused", "excused at the last moment")
    if not needs_lease(slot, duty):
        return None
    return go_hold(duty, context, _fault_domain(slot, duty, context))


def bounds_hold(slot: Slot, duty: Duty) -> Hold | None:
    """None when what people approved allows *duty*."""
    if isinstance(duty, Settled):
        return settled_bounds(duty, slot.rollout, slot.record, slot.me)
    roster = slot.roster_for(duty)
    if roster is None:
        return ROSTER_UNKNOWN
    if isinstance(duty, Revert):
        return revert_bounds(duty, roster, slot.rollout, slot.record, slot.me)
    return (
        plan_bounds(duty, roster, slot.rollout, slot.record)
        or excuse_bounds(duty, roster, slot.excused(duty.plan_seq))
        or retry_bounds(slot.attempt(duty.plan_seq))
    )


def needs_lease(slot: Slot, duty: Duty) -> bool:
    """A service that is down has nothing to lose: it goes back, or comes late, without a GO."""
    if isinstance(duty, Plan):
        return True
    return slot.record.running is not None and not slot.broken


def go_hold(duty: Duty, context: Context, fault_domain: int = -1) -> Hold | None:
    """None when a valid GO lets this host start *duty* now."""
    lease_s = LEASE_S if isinstance(duty, Settled) else duty.lease_s
    hold = clock_hold(
        context.now, time_floor=context.time_floor, clock_error_s=duty.clock_error_s
    ) or lease_hold(context.go, context.now, lease_s=lease_s, clock_error_s=duty.clock_error_s)
    if hold is not None:
        return hold
    match duty:
        case Plan():
            grant = grant_of(context.go, duty.service, duty.plan_seq, "activate")
        case Revert():
            grant = grant_of(context.go, duty.service, duty.plan_seq, "revert")
        case Settled():
            grant = grant_of(context.go, duty.service, duty.plan_seq, "converge")
    if grant is None:
        return Hold("not-granted", "the GO does not cover this order now")
    if context.me in grant.without:
        return Hold("left-out", "the GO leaves this host out: the control plane can't see it")
    if grant.phase == "activate":
        reached = 0 <= fault_domain <= grant.up_to
        return None if reached else Hold("not-yet", "the GO does not reach this fault domain yet")
    return None if context.me in grant.hosts else Hold("not-named", "waiting for its turn")


def _fault_domain(slot: Slot, duty: Duty, context: Context) -> int:
    """The index of this host's fault domain in a PLAN's roster; -1 for anything else."""
    roster = slot.roster_for(duty) if isinstance(duty, Plan) else None
    place = member_of(roster, context.me) if roster else None
    return place[1].fault_domain if place else -1
