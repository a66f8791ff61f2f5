"""One look at one cell's rollout.

``look`` is level-triggered: it takes the rollout as stored and what the cell attests now, and
returns the rollout as it is next and the orders to issue.  Running it twice, or after a crash,
does the same thing once more: every order is a register that only rises.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.activating import look_activating
from p2pdeploy.planning.cell_rollout import (
    FAILURES_TOLD_MAX,
    CellRollout,
    View,
    failure_of,
    with_rank,
)
from p2pdeploy.planning.reverting import look_reverting

__all__ = ["look"]


def look(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Take one look; return the rollout as it is next and the orders to issue."""
    if rollout.phase == "done":
        return rollout, []
    rollout = _note_outcomes(_watch(rollout, view), view)
    if rollout.phase == "activating":
        return look_activating(rollout, view)
    return look_reverting(rollout, view)


def _note_outcomes(rollout: CellRollout, view: View) -> CellRollout:
    """Remember who started and who failed: on the way back a host's register says so no longer."""
    now_failed = with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED)
    failed = {*rollout.failed, *now_failed}
    moved = {*rollout.moved, *now_failed, *with_rank(rollout, view, Rank.STARTED, Rank.HEALTHY)}
    failures = _failures(rollout, view, now_failed)
    if (len(failed), len(moved), failures) == (
        len(rollout.failed),
        len(rollout.moved),
        rollout.failures,
    ):
        return rollout
    return msgspec.structs.replace(
        rollout, failed=tuple(sorted(failed)), failures=failures, moved=tuple(sorted(moved))
    )


def _failures(rollout: CellRollout, view: View, now_failed: set[HostName]) -> tuple[Reason, ...]:
    """Why hosts failed, in the order they are known in, each by its newest word."""
    told = {reason.host: reason for reason in rollout.failures}
    for host in sorted(now_failed):
        if host in told or len(told) < FAILURES_TOLD_MAX:
            told[host] = failure_of(view.evidence[host])
    return tuple(told.values())


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
