"""One cell's rollout as the control plane conducts it: a value, and what every look asks of it.

:mod:`~p2pdeploy.planning.look` takes it further, :mod:`~p2pdeploy.planning.steering` is for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from p2pdeploy.activation.gate import in_attempt
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Plan, Settled
from p2pdeploy.planning.planner import CellPlan

__all__ = [
    "FAILURES_TOLD_MAX",
    "REASONS_SHOWN_MAX",
    "CellRollout",
    "Result",
    "View",
    "all_ended",
    "clock_time",
    "failure_of",
    "hold_reason",
    "is_quiet",
    "open_cell_rollout",
    "settled_of",
    "troubles",
    "with_rank",
]

Phase = Literal["activating", "reverting", "done"]
Result = Literal["", "complete", "rolled-back", "aborted", "failed"]
FAILURES_TOLD_MAX = 32  # of a cell's hosts; the next one fails for no other reason
REASONS_SHOWN_MAX = 3  # a rollout's reasons are read by people; 'hosts' has them all
SETTLED_LIFETIME_S = 24 * 3600.0


class View(msgspec.Struct, frozen=True):
    """What the control plane sees of one service in one cell, and the time."""

    evidence: Mapping[HostName, Attestation]
    alive: frozenset[HostName]
    now: float


class CellRollout(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's rollout; stored as it is after every look that changed it.

    ``rollout_seq`` is its ROLLOUT's.
    ``result`` while reverting is what it will be called when the way back is done.
    ``began_at`` and ``ended_at`` are per fault domain; 0 means not yet, and an abort begins what
    had ended anew, because its hosts go back.  No GO covers it before ``hold_until``: a host
    outside this roster, one of ``held_for``, may still be busy with the order before it, and only
    time can tell.  ``lost_since`` and ``going_back`` map hosts to when they were first missed, or
    named to go back; ``left_out_at`` maps such hosts to when a GO first let them start nothing.
    """

    cell_plan: CellPlan
    rollout_seq: int
    phase: Phase = "activating"
    result: Result = ""
    paused: bool = False
    attempt: int = 0
    excused: tuple[HostName, ...] = ()
    excuse_seq: int = 0
    lost_since: dict[HostName, float] = {}
    failed: tuple[HostName, ...] = ()  # ever, under this plan; grows only
    failures: tuple[Reason, ...] = ()  # why, of the first of them; newest word of each
    moved: tuple[HostName, ...] = ()  # ever seen to have started this plan; grows only
    predecessor_quiet_at: float = 0.0
    hold_until: float = 0.0
    held_for: tuple[HostName, ...] = ()
    aborted_at: float = 0.0
    going_back: dict[HostName, float] = {}
    left_out_at: dict[HostName, float] = {}
    began_at: tuple[float, ...] = ()
    ended_at: tuple[float, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def plan(self) -> Plan:
        return self.cell_plan.plan

    @property
    def quiet_s(self) -> float:
        """How long after the last GO that covers a host something it began may be under way."""
        return self.plan.lease_s + self.plan.clock_error_s + self.plan.activation_max_s


def open_cell_rollout(
    cell_plan: CellPlan,
    *,
    rollout_seq: int,
    quiet_at: float,
    hold_until: float,
    held_for: tuple[HostName, ...] = (),
) -> CellRollout:
    """A rollout that has just been accepted; nothing is issued yet.

    Args:
        cell_plan: From the planner.
        rollout_seq: Of the ROLLOUT that approves it.
        quiet_at: When nothing that earlier GOs allowed can be under way any more; 0 if none did.
        hold_until: No GO before this time, seconds since the epoch; 0 for at once.
        held_for: The hosts that may be busy until then, as far as they are known.
    """
    zeros = (0.0,) * len(cell_plan.plan.fault_domains)
    return CellRollout(
        cell_plan=cell_plan,
        rollout_seq=rollout_seq,
        predecessor_quiet_at=quiet_at,
        hold_until=hold_until,
        held_for=held_for,
        began_at=zeros,
        ended_at=zeros,
        reasons=(Reason(code="accepted", message="accepted; its hosts are being told"),),
    )


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
        rollout_id=plan.rollout_id,
        plan_seq=plan.plan_seq if complete else plan.plan_seq + 1,
        build=plan.build if complete else plan.baseline,
        hosts=rollout.cell_plan.only if complete else rollout.cell_plan.concerned,
        bare=() if complete else rollout.cell_plan.revert.bare,
        max_unavailable=plan.max_unavailable,
        activation_max_s=plan.activation_max_s,
        clock_error_s=plan.clock_error_s,
        issued_at=now,
        not_after=now + SETTLED_LIFETIME_S,
    )


def with_rank(
    rollout: CellRollout,
    view: View,
    *ranks: Rank,
    index: int | None = None,
    reverting: bool = False,
) -> set[HostName]:
    """Roster hosts that attested one of *ranks* for the plan (or its way back).

    Outcomes of earlier attempts at the plan count no more.
    """
    plan_seq = rollout.plan.plan_seq + (1 if reverting else 0)
    evidence = in_attempt(view.evidence, rollout.plan, rollout.attempt)
    found: set[HostName] = set()
    for member in rollout.cell_plan.roster.members:
        word = evidence.get(member.host)
        if index is not None and member.fault_domain != index:
            continue
        if word is not None and word.plan_seq == plan_seq and word.rank in ranks:
            found.add(member.host)
    return found


def failure_of(word: Attestation) -> Reason:
    """Why a host failed, in its own words."""
    return Reason(
        code=word.reason_code or "failed",
        message=word.reason or "failed",
        host=word.host,
        fault_domain=word.fault_domain,
    )


def troubles(rollout: CellRollout, view: View, waiting: list[HostName]) -> list[Reason]:
    """What keeps waiting hosts back, in their own words; three are enough to act on."""
    words = [view.evidence[host] for host in sorted(waiting) if host in view.evidence]
    return [
        Reason(code=w.reason_code, message=w.reason, host=w.host, fault_domain=w.fault_domain)
        for w in words
        if w.plan_seq in (rollout.plan.plan_seq, rollout.plan.plan_seq + 1)
        and w.rank < Rank.STARTED
        and w.reason_code
    ][:REASONS_SHOWN_MAX]


def hold_reason(rollout: CellRollout, now: float) -> Reason | None:
    """For whom, and until when, a rollout waits that no GO may cover yet; None when one may."""
    if rollout.phase != "activating" or now >= rollout.hold_until:
        return None
    first = rollout.held_for[:REASONS_SHOWN_MAX]
    more = len(rollout.held_for) - len(first)
    names = ", ".join(first) or "another host"
    names += f" and {more} more" if more else ""
    cell, until = rollout.plan.cell, clock_time(rollout.hold_until)
    return Reason(
        code="waits-for-predecessor",
        message=f"waits in {cell} until {until}: {names} may still be busy with the order before",
        host=first[0] if first else "",
    )


def clock_time(seconds: float) -> str:
    """UTC to the second; rounded up, because until then somebody may be busy."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC).strftime("%H:%M:%S UTC")


def all_ended(rollout: CellRollout, now: float) -> tuple[float, ...]:
    """The rollout is over: nobody waits any more for a host that gave no outcome."""
    return tuple(at or now for at in rollout.ended_at)


def is_quiet(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether nothing that this plan or its way back began on *host* can be under way.

    A host that is reached says so itself; a lost one is known to be quiet when everything it
    could have begun under the last GO that covered it has had its time.
    """
    plan = rollout.plan
    if host in view.alive:
        word = view.evidence.get(host)
        busy_with = (plan.plan_seq, plan.plan_seq + 1)  # the plan, or its way back
        return word is None or word.rank is not Rank.STARTED or word.plan_seq not in busy_with
    return view.now - rollout.left_out_at.get(host, view.now) >= rollout.quiet_s
