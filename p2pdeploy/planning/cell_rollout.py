"""One cell's rollout as the control plane conducts it: a value, and one look at a time.

``look`` is level-triggered: it takes the rollout as stored and what the cell attests now, and
returns the rollout as it is next and the orders to issue.  Running it twice, or after a crash,
does the same thing once more: every order is a register that only rises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from p2pdeploy.activation.gate import doomed
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Abort, Excuse, Order, Plan, Settled
from p2pdeploy.planning.planner import CellPlan

__all__ = [
    "LOST_S",
    "CellRollout",
    "View",
    "ask_abort",
    "budget_holders",
    "excuse",
    "look",
    "open_cell_rollout",
    "settled_of",
]

Phase = Literal["activating", "reverting", "done"]
Result = Literal["", "complete", "rolled-back", "aborted", "failed"]

REASONS_SHOWN_MAX = 3  # a rollout's reasons are read by people; 'hosts' has them all
LOST_S = 10.0  # beside the 5 to 25 s that membership takes: longer than a restart of a daemon
SETTLED_LIFETIME_S = 24 * 3600.0


class View(msgspec.Struct, frozen=True):
    """What the control plane sees of one service in one cell, and the time."""

    evidence: Mapping[HostName, Attestation]
    alive: frozenset[HostName]
    now: float


class CellRollout(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's rollout; stored as it is after every look that changed it.

    ``result`` while reverting is what it will be called when the way back is done.
    ``began_at`` and ``ended_at`` are per fault domain; 0 means not yet, and an abort begins what
    had ended anew, because its hosts go back.  No GO covers it before
    ``hold_until``: a host outside this roster may still be busy with the order before it, and
    only time can tell.  ``lost_since`` and ``going_back`` map hosts to when they were first
    missed, or named to go back.
    """

    cell_plan: CellPlan
    phase: Phase = "activating"
    result: Result = ""
    paused: bool = False
    excused: tuple[HostName, ...] = ()
    excuse_seq: int = 0
    lost_since: dict[HostName, float] = {}
    failed: tuple[HostName, ...] = ()  # ever, under this plan; grows only
    predecessor_quiet_at: float = 0.0
    hold_until: float = 0.0
    aborted_at: float = 0.0
    going_back: dict[HostName, float] = {}
    began_at: tuple[float, ...] = ()
    ended_at: tuple[float, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def plan(self) -> Plan:
        return self.cell_plan.plan


def open_cell_rollout(cell_plan: CellPlan, *, quiet_at: float, hold_until: float) -> CellRollout:
    """A rollout that has just been accepted; nothing is issued yet.

    Args:
        cell_plan: From the planner.
        quiet_at: When nothing that earlier GOs allowed can be under way any more; 0 if none did.
        hold_until: No GO before this time, seconds since the epoch; 0 for at once.
    """
    zeros = (0.0,) * len(cell_plan.plan.fault_domains)
    return CellRollout(
        cell_plan=cell_plan,
        predecessor_quiet_at=quiet_at,
        hold_until=hold_until,
        began_at=zeros,
        ended_at=zeros,
        reasons=(Reason(code="accepted", message="accepted; its hosts are being told"),),
    )


def look(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Take one look; return the rollout as it is next and the orders to issue."""
    if rollout.phase == "done":
        return rollout, []
    rollout = _note_failed(_watch(rollout, view), view)
    if rollout.phase == "activating":
        return _look_activating(_stamp(rollout, view), view)
    return _look_reverting(_stamp_back(rollout, view), view)


def ask_abort(
    rollout: CellRollout, *, result: Result, reason: Reason, now: float
) -> tuple[CellRollout, list[Order]]:
    """Stop the plan for ever and go back to its baseline; also after it completed.

    Idempotent: a rollout that is going back already stays as it is.
    """
    if rollout.phase == "reverting" or (rollout.phase == "done" and rollout.result != "complete"):
        return rollout, []
    plan = rollout.plan
    rollout = msgspec.structs.replace(
        rollout,
        phase="reverting",
        result=result,
        paused=False,
        reasons=(reason,),
        aborted_at=now,
        ended_at=(0.0,) * len(plan.fault_domains),
    )
    abort = Abort(
        cell=plan.cell,
        service=plan.service,
        watermark=plan.plan_seq,
        code=reason.code,
        reason=reason.message,
    )
    return rollout, [abort]


def excuse(
    rollout: CellRollout, hosts: tuple[HostName, ...], reason: str, view: View
) -> tuple[CellRollout, list[Order], str]:
    """Stop waiting for *hosts*; the third value says why not, and is empty when it was done.

    Excused and failed hosts together stay within each fault domain's ``failures_max``, and one
    host at least must remain that is waited for.  A host that may be changing right now is not
    excused while others wait behind it, because they would begin beside it.
    """
    for host in sorted(set(hosts) - set(rollout.excused)):
        if not _is_quiet(rollout, view, host) and _others_wait_behind(rollout, view, host):
            refusal = (
                f"{host} may be changing right now; ask again when it has ended or is long gone"
            )
            return rollout, [], refusal
    members = {m.host: m.fault_domain for m in rollout.cell_plan.roster.members}
    excused = tuple(sorted({*rollout.excused, *(h for h in hosts if h in members)}))
    if rollout.phase == "reverting":  # it goes back when it can, by what settles
        return msgspec.structs.replace(rollout, excused=excused), [], ""
    for index, domain in enumerate(rollout.plan.fault_domains):
        out = {h for h in excused if members[h] == index}
        out |= _with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED, index=index)
        if len(out) > domain.failures_max:
            return (
                rollout,
                [],
                (
                    f"{domain.name} tolerates {domain.failures_max} excused or failed hosts, "
                    f"this would make {len(out)}"
                ),
            )
    rollout = msgspec.structs.replace(rollout, excused=excused, excuse_seq=rollout.excuse_seq + 1)
    plan = rollout.plan
    order = Excuse(
        cell=plan.cell,
        service=plan.service,
        plan_seq=plan.plan_seq,
        excuse_seq=rollout.excuse_seq,
        hosts=excused,
        reason=reason,
    )
    return rollout, [order], ""


def settled_of(rollout: CellRollout, *, now: float) -> Settled | None:
    """What the cell settled on when this rollout ended; None before that.

    A plan that completed settles its build.  A way back that ended settles the baseline, also
    when a host failed on it: the others run it, and whoever comes late is to get there as well.
    """
    if rollout.phase != "done":
        return None
    plan = rollout.plan
    complete = rollout.result == "complete"
    return Settled(
        cell=plan.cell,
        service=plan.service,
        plan_seq=plan.plan_seq if complete else plan.plan_seq + 1,
        build=plan.build if complete else plan.baseline,
        hosts=rollout.cell_plan.only,
        max_unavailable=plan.max_unavailable,
        activation_max_s=plan.activation_max_s,
        clock_error_s=plan.clock_error_s,
        issued_at=now,
        not_after=now + SETTLED_LIFETIME_S,
    )


# -- activating ------------------------------------------------------------------------------


def _look_activating(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    plan = rollout.plan
    failed = _with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED)
    if reason := _failure(rollout, view, failed):
        return ask_abort(rollout, result="rolled-back", reason=reason, now=view.now)
    if view.now >= plan.expires_at and not rollout.paused:  # a paused one waits for its person
        reason = Reason(code="plan-expired", message="the plan was not finished in time")
        return ask_abort(rollout, result="failed", reason=reason, now=view.now)
    healthy = _with_rank(rollout, view, Rank.HEALTHY)
    waiting = [
        member.host
        for member in rollout.cell_plan.roster.members
        if member.host not in healthy
        and member.host not in failed
        and member.host not in rollout.excused
    ]
    if waiting:
        rollout = msgspec.structs.replace(rollout, reasons=_waits(rollout, view, waiting))
        return _excuse_lost(rollout, view, waiting)
    rollout = msgspec.structs.replace(
        rollout,
        phase="done",
        result="complete",
        reasons=_leftovers(rollout, failed),
        ended_at=_all_ended(rollout, view.now),
    )
    settled = settled_of(rollout, now=view.now)
    return rollout, [settled] if settled else []


def _failure(rollout: CellRollout, view: View, failed: set[HostName]) -> Reason | None:
    """The reason to stop: the hosts' own brakes hold, or a gate can't open any more."""
    plan, roster = rollout.plan, rollout.cell_plan.roster
    stuck = doomed(plan, roster, view.evidence, frozenset(rollout.excused))
    if not failed or (len(failed) < plan.brakes_max and not stuck):
        return None
    first = min(failed)
    word = view.evidence[first]
    return Reason(
        code=word.reason_code or "failed",
        message=word.reason or "failed",
        host=first,
        fault_domain=word.fault_domain,
    )


def _waits(rollout: CellRollout, view: View, waiting: list[HostName]) -> tuple[Reason, ...]:
    if rollout.paused:
        return (Reason(code="paused", message="paused by an operator"),)
    lost = sorted(host for host in waiting if host not in view.alive)
    if lost:
        return tuple(
            Reason(
                code="host-unreachable",
                message=f"{host} cannot be reached; waiting until it returns or is excused",
                host=host,
            )
            for host in lost[:REASONS_SHOWN_MAX]
        )
    members = rollout.cell_plan.roster.members
    names = [rollout.plan.fault_domains[m.fault_domain].name for m in members if m.host in waiting]
    going_on = Reason(
        code="activating",
        message=f"{len(waiting)} of {len(members)} hosts to go, now in {names[0]}",
        fault_domain=names[0],
    )
    return (going_on, *_troubles(rollout, view, waiting))


def _troubles(rollout: CellRollout, view: View, waiting: list[HostName]) -> list[Reason]:
    """What keeps waiting hosts back, in their own words; three are enough to act on."""
    words = [view.evidence[host] for host in sorted(waiting) if host in view.evidence]
    return [
        Reason(code=w.reason_code, message=w.reason, host=w.host, fault_domain=w.fault_domain)
        for w in words
        if w.plan_seq in (rollout.plan.plan_seq, rollout.plan.plan_seq + 1)
        and w.rank < Rank.STARTED
        and w.reason_code
    ][:REASONS_SHOWN_MAX]


def _note_failed(rollout: CellRollout, view: View) -> CellRollout:
    """Remember who failed: on the way back a host's register says so no longer."""
    failed = {*rollout.failed, *_with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED)}
    if len(failed) == len(rollout.failed):
        return rollout
    return msgspec.structs.replace(rollout, failed=tuple(sorted(failed)))


def _watch(rollout: CellRollout, view: View) -> CellRollout:
    """Note since when each roster host cannot be reached.

    When nobody is seen alive it is this control plane that is cut off, and nothing is learnt.
    """
    if not view.alive:
        return rollout
    known = dict(rollout.lost_since)
    lost = {
        member.host: known.get(member.host, view.now)
        for member in rollout.cell_plan.roster.members
        if member.host not in view.alive
    }
    if lost == known:
        return rollout
    return msgspec.structs.replace(rollout, lost_since=lost)


def _excuse_lost(
    rollout: CellRollout, view: View, waiting: list[HostName]
) -> tuple[CellRollout, list[Order]]:
    """Excuse hosts that were lost so long that nothing they began can be under way any more."""
    for host in waiting:
        if host in view.alive or not _is_quiet(rollout, view, host):
            continue
        excused, orders, refusal = excuse(rollout, (host,), "unreachable", view)
        if not refusal:
            return excused, orders
    return rollout, []


def _is_quiet(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether nothing that this plan began on *host* can be under way.

    A host that is reached says so itself; a lost one is known to be quiet when everything it
    could have begun under its last lease has had its time.
    """
    plan = rollout.plan
    if host in view.alive:
        word = view.evidence.get(host)
        return word is None or word.plan_seq != plan.plan_seq or word.rank is not Rank.STARTED
    quiet_s = plan.lease_s + plan.clock_error_s + plan.activation_max_s
    return view.now - rollout.lost_since.get(host, view.now) >= quiet_s


def _others_wait_behind(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether a later batch or fault domain has hosts without an outcome."""
    members = rollout.cell_plan.roster.members
    place = {m.host: (m.fault_domain, m.batch) for m in members}
    ended = _with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED)
    ended |= set(rollout.excused)
    mine = place.get(host)
    return mine is not None and any(place[h] > mine for h in place if h not in ended)


def _leftovers(rollout: CellRollout, failed: set[HostName]) -> tuple[Reason, ...]:
    reasons = [Reason(code="host-failed", message="failed, tolerated", host=h) for h in failed]
    reasons += [Reason(code="excused", message="excused", host=h) for h in rollout.excused]
    return tuple(sorted(reasons, key=lambda reason: reason.host))


def _stamp(rollout: CellRollout, view: View) -> CellRollout:
    """Note when each fault domain began and ended, as seen from here."""
    began, ended = list(rollout.began_at), list(rollout.ended_at)
    for index, domain in enumerate(rollout.plan.fault_domains):
        moved = _with_rank(
            rollout, view, Rank.STARTED, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, index=index
        )
        final = moved - _with_rank(rollout, view, Rank.STARTED, index=index)
        if moved and not began[index]:
            began[index] = view.now
        if len(final) == domain.size and not ended[index]:
            ended[index] = view.now
    if (tuple(began), tuple(ended)) == (rollout.began_at, rollout.ended_at):
        return rollout
    return msgspec.structs.replace(rollout, began_at=tuple(began), ended_at=tuple(ended))


def _stamp_back(rollout: CellRollout, view: View) -> CellRollout:
    """Note when the last host of each fault domain ended its way back."""
    back = _with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, reverting=True)
    back |= set(rollout.excused)
    on_the_way = {
        member.fault_domain
        for member in rollout.cell_plan.roster.members
        if member.host not in back
    }
    ended = tuple(
        at if at or index in on_the_way else view.now for index, at in enumerate(rollout.ended_at)
    )
    if ended == rollout.ended_at:
        return rollout
    return msgspec.structs.replace(rollout, ended_at=ended)


def _all_ended(rollout: CellRollout, now: float) -> tuple[float, ...]:
    """The rollout is over: nobody waits any more for a host that gave no outcome."""
    return tuple(at or now for at in rollout.ended_at)


# -- reverting -------------------------------------------------------------------------------


def _look_reverting(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Name the next hosts to go back, as far as ``max_unavailable`` has room for them."""
    rollout = _name_next(rollout, view)
    back = _with_rank(rollout, view, Rank.HEALTHY, reverting=True)
    stuck = _with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED, reverting=True)
    left = [
        member.host
        for member in rollout.cell_plan.roster.members
        if member.host not in back | stuck and member.host not in rollout.excused
    ]
    if any(not _is_lost(rollout, view, host) for host in left):
        held_up = [*_busy_reasons(rollout, view), *_troubles(rollout, view, left)]
        reasons = (*rollout.reasons[:1], *held_up)
        return msgspec.structs.replace(rollout, reasons=reasons), []
    return _end_revert(rollout, view, stuck, sorted(left))


def _is_lost(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether the way back may end without *host*: it was missed for long enough to believe it."""
    since = rollout.lost_since.get(host)
    return bool(view.alive) and since is not None and view.now - since >= LOST_S


def _name_next(rollout: CellRollout, view: View) -> CellRollout:
    """Fill the window: hosts that may be down because of an order never exceed the budget."""
    reverted = _with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, reverting=True)
    accepted = _with_rank(rollout, view, Rank.ACCEPTED, Rank.STAGED, Rank.STARTED, reverting=True)
    holders = budget_holders(rollout, view)
    window = {host: at for host, at in rollout.going_back.items() if host in holders}
    room = rollout.plan.max_unavailable - len(holders)
    ready = [
        member.host
        for member in rollout.cell_plan.roster.members
        if member.host in accepted - reverted
        and member.host in view.alive
        and member.host not in window
    ]
    window.update(dict.fromkeys(ready[: max(0, room)], view.now))
    if window == rollout.going_back:
        return rollout
    return msgspec.structs.replace(rollout, going_back=window)


def budget_holders(rollout: CellRollout, view: View) -> dict[HostName, float]:
    """Which hosts take room in the budget of a way back, and until when at the latest.

    A host counts from the moment it is named until it attests an outcome, or until so long after
    that nothing it began can be under way.  One that may still be busy with the aborted plan
    counts in the same way from the abort on.

    Returns:
        Host to seconds since the epoch; empty unless the rollout goes back.
    """
    if rollout.phase != "reverting":
        return {}
    plan = rollout.plan
    quiet_s = plan.lease_s + plan.clock_error_s + plan.activation_max_s
    ended = (Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED)
    reverted = _with_rank(rollout, view, *ended, reverting=True)
    idle = reverted | _with_rank(rollout, view, *ended)
    idle |= _with_rank(rollout, view, Rank.ACCEPTED, Rank.STAGED, Rank.STARTED, reverting=True)
    until = {
        member.host: rollout.aborted_at + quiet_s
        for member in rollout.cell_plan.roster.members
        if member.host not in idle
    }
    until |= {
        host: named_at + quiet_s
        for host, named_at in rollout.going_back.items()
        if host not in reverted
    }
    return {host: at for host, at in until.items() if view.now < at}


def _busy_reasons(rollout: CellRollout, view: View) -> list[Reason]:
    """Who keeps the others from going back, when the budget has no room left."""
    holders = budget_holders(rollout, view)
    if len(holders) < rollout.plan.max_unavailable:
        return []
    first = sorted(holders, key=lambda host: (-holders[host], host))[:REASONS_SHOWN_MAX]
    return [
        Reason(
            code="budget-held",
            message=f"{host} may still be busy until {_clock_time(holders[host])}",
            host=host,
        )
        for host in first
    ]


def _clock_time(seconds: float) -> str:
    """UTC to the second; rounded up, because until then it may be busy."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC).strftime("%H:%M:%S UTC")


def _end_revert(
    rollout: CellRollout, view: View, stuck: set[HostName], lost: list[HostName]
) -> tuple[CellRollout, list[Order]]:
    reasons = list(rollout.reasons[:1])  # why it went back; who held the budget is over
    result = rollout.result
    if stuck:
        result = "failed"
        reasons += [
            Reason(code="baseline-unhealthy", message="could not go back to the baseline", host=h)
            for h in sorted(stuck)
        ]
    reasons += [
        Reason(
            code="host-unreachable", message="cannot be reached; goes back when it returns", host=h
        )
        for h in lost
    ]
    rollout = msgspec.structs.replace(
        rollout,
        phase="done",
        result=result,
        reasons=tuple(reasons),
        ended_at=_all_ended(rollout, view.now),
    )
    settled = settled_of(rollout, now=view.now)
    return rollout, [settled] if settled else []


def _with_rank(
    rollout: CellRollout,
    view: View,
    *ranks: Rank,
    index: int | None = None,
    reverting: bool = False,
) -> set[HostName]:
    """Roster hosts that attested one of *ranks* for the plan (or its way back)."""
    plan_seq = rollout.plan.plan_seq + (1 if reverting else 0)
    found: set[HostName] = set()
    for member in rollout.cell_plan.roster.members:
        word = view.evidence.get(member.host)
        if index is not None and member.fault_domain != index:
            continue
        if word is not None and word.plan_seq == plan_seq and word.rank in ranks:
            found.add(member.host)
    return found
