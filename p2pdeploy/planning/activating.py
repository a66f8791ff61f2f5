"""One look at a rollout that goes forward: is it done, has it failed, and what does it wait for."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.gate import doomed, in_attempt
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.cell_rollout import (
    REASONS_SHOWN_MAX,
    CellRollout,
    View,
    all_ended,
    failure_of,
    hold_reason,
    is_quiet,
    settled_of,
    troubles,
    with_rank,
)
from p2pdeploy.planning.steering import ask_abort, excuse

__all__ = ["look_activating", "waits_now"]


def look_activating(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Stop it, complete it, excuse a host that was lost for long, or say what it waits for."""
    rollout = _stamp(rollout, view)
    plan = rollout.plan
    failed = with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED)
    if reason := _failure(rollout, view, failed):
        return ask_abort(rollout, result="rolled-back", reason=reason, now=view.now)
    if view.now >= plan.expires_at and not rollout.paused:  # a paused one waits for its person
        reason = Reason(code="plan-expired", message="the plan was not finished in time")
        return ask_abort(rollout, result="failed", reason=reason, now=view.now)
    waiting = _waiting(rollout, view)
    if waiting:
        rollout = msgspec.structs.replace(rollout, reasons=_waits(rollout, view, waiting))
        return _excuse_lost(rollout, view, waiting)
    rollout = msgspec.structs.replace(
        rollout,
        phase="done",
        result="complete",
        reasons=_leftovers(rollout, failed),
        ended_at=all_ended(rollout, view.now),
    )
    settled = settled_of(rollout, now=view.now)
    return rollout, [settled] if settled else []


def waits_now(rollout: CellRollout, view: View) -> tuple[Reason, ...]:
    """What a rollout that goes forward waits for; empty when every host has its outcome."""
    waiting = _waiting(rollout, view)
    return _waits(rollout, view, waiting) if waiting else ()


def _waiting(rollout: CellRollout, view: View) -> list[HostName]:
    """The hosts that have no outcome and are waited for."""
    over = with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED)
    over.update(rollout.excused)
    return [m.host for m in rollout.cell_plan.roster.members if m.host not in over]


def _failure(rollout: CellRollout, view: View, failed: set[HostName]) -> Reason | None:
    """The reason to stop: the hosts' own brakes hold, or a gate can't open any more."""
    plan, roster = rollout.plan, rollout.cell_plan.roster
    evidence = in_attempt(view.evidence, plan, rollout.attempt)
    stuck = doomed(plan, roster, evidence, frozenset(rollout.excused))
    if not failed or (len(failed) < plan.brakes_max and not stuck):
        return None
    return failure_of(view.evidence[min(failed)])


def _waits(rollout: CellRollout, view: View, waiting: list[HostName]) -> tuple[Reason, ...]:
    if rollout.paused:
        return (Reason(code="paused", message="paused by an operator"),)
    held = hold_reason(rollout, view.now)
    first = (held,) if held else ()
    lost = sorted(host for host in waiting if host not in view.alive)
    if lost:
        return first + tuple(
            Reason(
                code="host-unreachable",
                message=f"{host} cannot be reached; waiting until it returns or is excused",
                host=host,
            )
            for host in lost[:REASONS_SHOWN_MAX]
        )
    members = rollout.cell_plan.roster.members
    first_member = next(member for member in members if member.host == waiting[0])
    place = rollout.plan.fault_domains[first_member.fault_domain].name
    going_on = Reason(
        code="activating",
        message=f"{len(waiting)} of {len(members)} hosts to go, now in {place}",
        fault_domain=place,
    )
    return (held or going_on, *troubles(rollout, view, waiting))


def _excuse_lost(
    rollout: CellRollout, view: View, waiting: list[HostName]
) -> tuple[CellRollout, list[Order]]:
    """Excuse hosts that were lost so long that nothing they began can be under way any more."""
    for host in waiting:
        if host in view.alive or not is_quiet(rollout, view, host):
            continue
        excused, orders, refusal = excuse(rollout, (host,), "unreachable", view)
        if not refusal:
            return excused, orders
    return rollout, []


def _leftovers(rollout: CellRollout, failed: set[HostName]) -> tuple[Reason, ...]:
    reasons = [Reason(code="host-failed", message="failed, tolerated", host=h) for h in failed]
    reasons += [Reason(code="excused", message="excused", host=h) for h in rollout.excused]
    return tuple(sorted(reasons, key=lambda reason: reason.host))


def _stamp(rollout: CellRollout, view: View) -> CellRollout:
    """Note when each fault domain began and ended, as seen from here."""
    began, ended = list(rollout.began_at), list(rollout.ended_at)
    for index, domain in enumerate(rollout.plan.fault_domains):
        moved = with_rank(
            rollout, view, Rank.STARTED, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, index=index
        )
        final = moved - with_rank(rollout, view, Rank.STARTED, index=index)
        if moved and not began[index]:
            began[index] = view.now
        if len(final) == domain.size and not ended[index]:
            ended[index] = view.now
    if (tuple(began), tuple(ended)) == (rollout.began_at, rollout.ended_at):
        return rollout
    return msgspec.structs.replace(rollout, began_at=tuple(began), ended_at=tuple(ended))
