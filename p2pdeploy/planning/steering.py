"""What people and rules ask of a rollout: to stop and go back, or not to wait for a host."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.limits import ATTEMPTS_MAX
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Excuse, Order, Retry
from p2pdeploy.planning.cell_rollout import CellRollout, Result, View, is_quiet, with_rank

__all__ = ["ask_abort", "excuse", "retry"]


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
        rollout_seq=rollout.rollout_seq,
        code=reason.code,
        reason=reason.message,
    )
    return rollout, [abort]


def retry(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Try the plan again in a cell where hosts failed under it; the brakes count anew.

    Nothing where it goes back or has ended, none failed, it was tried ``ATTEMPTS_MAX`` times, or
    an excused host may be changing right now: nobody would wait for that.
    """
    failed = with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED)
    quiet = all(is_quiet(rollout, view, host) for host in rollout.excused)
    tried_out = rollout.attempt >= ATTEMPTS_MAX
    if rollout.phase != "activating" or not failed or tried_out or not quiet:
        return rollout, []
    rollout = msgspec.structs.replace(rollout, attempt=rollout.attempt + 1)
    plan = rollout.plan
    order = Retry(
        cell=plan.cell, service=plan.service, plan_seq=plan.plan_seq, attempt=rollout.attempt
    )
    return rollout, [order]


def excuse(
    rollout: CellRollout, hosts: tuple[HostName, ...], reason: str, view: View
) -> tuple[CellRollout, list[Order], str]:
    """Stop waiting for *hosts*; the third value says why not, and is empty when it was done.

    Excused and failed hosts together stay within each fault domain's ``failures_max``, and one
    host at least must remain that is waited for.  A host that may be changing right now is not
    excused while others wait behind it, because they would begin beside it.
    """
    for host in sorted(set(hosts) - set(rollout.excused)):
        if not is_quiet(rollout, view, host) and _others_wait_behind(rollout, view, host):
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
        out |= with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED, index=index)
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


def _others_wait_behind(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether a later batch or fault domain has hosts without an outcome."""
    members = rollout.cell_plan.roster.members
    place = {m.host: (m.fault_domain, m.batch) for m in members}
    ended = with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED)
    ended |= set(rollout.excused)
    mine = place.get(host)
    return mine is not None and any(place[h] > mine for h in place if h not in ended)
