"""One look at a rollout that goes back: who is named next, who holds the budget, and the end."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.cell_rollout import (
    REASONS_SHOWN_MAX,
    CellRollout,
    View,
    all_ended,
    clock_time,
    settled_of,
    troubles,
    with_rank,
)

__all__ = ["LOST_S", "budget_holders", "look_reverting"]

LOST_S = 10.0  # beside the 5 to 25 s that membership takes: longer than a restart of a daemon


def look_reverting(rollout: CellRollout, view: View) -> tuple[CellRollout, list[Order]]:
    """Name the next hosts to go back, as far as ``max_unavailable`` has room for them."""
    rollout = _name_next(_stamp_back(rollout, view), view)
    back = with_rank(rollout, view, Rank.HEALTHY, reverting=True)
    stuck = with_rank(rollout, view, Rank.FAILED, Rank.REGRESSED, reverting=True)
    left = [
        member.host
        for member in rollout.cell_plan.roster.members
        if member.host not in back | stuck and member.host not in rollout.excused
    ]
    if any(not _is_lost(rollout, view, host) for host in left):
        held_up = [*_busy_reasons(rollout, view), *troubles(rollout, view, left)]
        reasons = (*rollout.reasons[:1], *held_up)
        return msgspec.structs.replace(rollout, reasons=reasons), []
    return _end_revert(rollout, view, stuck, sorted(left))


def _is_lost(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether the way back may end without *host*: it was missed for long enough to believe it."""
    since = rollout.lost_since.get(host)
    return bool(view.alive) and since is not None and view.now - since >= LOST_S


def _name_next(rollout: CellRollout, view: View) -> CellRollout:
    """Fill the window: hosts that may be down because of an order never exceed the budget."""
    reverted = with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, reverting=True)
    accepted = with_rank(rollout, view, Rank.ACCEPTED, Rank.STAGED, Rank.STARTED, reverting=True)
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
    ready.sort(key=lambda host: host in rollout.going_back)  # who has just had its turn comes last
    window.update(dict.fromkeys(ready[: max(0, room)], view.now))
    if window == rollout.going_back:
        return rollout
    return msgspec.structs.replace(rollout, going_back=window)


def budget_holders(rollout: CellRollout, view: View) -> dict[HostName, float]:
    """Which hosts take room in the budget of a way back, and until when at the latest.

    A host counts from the moment it is named until it attests an outcome, or until nothing it
    began under the last GO that named it can be under way; GOs name it for ``quiet_s`` at most.
    One that may still be busy with the aborted plan counts in the same way from the abort on.

    Returns:
        Host to seconds since the epoch; empty unless the rollout goes back.
    """
    if rollout.phase != "reverting":
        return {}
    quiet_s = rollout.quiet_s
    ended = (Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED)
    reverted = with_rank(rollout, view, *ended, reverting=True)
    idle = reverted | with_rank(rollout, view, *ended)
    idle |= with_rank(rollout, view, Rank.ACCEPTED, Rank.STAGED, Rank.STARTED, reverting=True)
    until = {
        member.host: rollout.aborted_at + quiet_s
        for member in rollout.cell_plan.roster.members
        if member.host not in idle
    }
    until |= {
        host: rollout.left_out_at.get(host, named_at + quiet_s) + quiet_s
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
            message=f"{host} may still be busy until {clock_time(holders[host])}",
            host=host,
        )
        for host in first
    ]


def _end_revert(
    rollout: CellRollout, view: View, stuck: set[HostName], lost: list[HostName]
) -> tuple[CellRollout, list[Order]]:
    reasons = list(rollout.reasons[:1])  # why it went back; who held the budget is over
    sick = {host for host in stuck if _never_left(rollout, view, host)}
    stayed = _stayed(rollout, view)
    came_back = with_rank(rollout, view, Rank.HEALTHY, reverting=True) & set(rollout.moved)
    nobody_came = bool(stayed) and not came_back
    result = "failed" if stuck - sick or nobody_came else rollout.result
    reasons += [
        Reason(
            code="baseline-unhealthy",
            message="unhealthy on the baseline, which it never left"
            if host in sick
            else "could not go back to the baseline",
            host=host,
        )
        for host in sorted(stuck)
    ]
    reasons += _absences(rollout, stayed, lost)
    rollout = msgspec.structs.replace(
        rollout,
        phase="done",
        result=result,
        reasons=tuple(reasons),
        ended_at=all_ended(rollout, view.now),
    )
    settled = settled_of(rollout, now=view.now)
    return rollout, [settled] if settled else []


def _stayed(rollout: CellRollout, view: View) -> set[HostName]:
    """Hosts that were to go back, gave no outcome, and whose last word names the new build."""
    ended = with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, reverting=True)
    build = rollout.plan.build
    on_it = {
        host
        for host, word in view.evidence.items()
        if (word.version, word.digest) == (build.version, build.digest)
    }
    revert = rollout.cell_plan.revert
    return {
        member.host
        for member in rollout.cell_plan.roster.members
        if member.host in on_it - ended and revert.for_host(member.host).build != build
    }


def _absences(rollout: CellRollout, stayed: set[HostName], lost: list[HostName]) -> list[Reason]:
    """The hosts that the way back ended without."""
    runs = f"when last heard it ran {rollout.plan.build.version}"
    silent = "cannot be reached; goes back when it returns"
    excused = [
        Reason(code="not-back", message=f"excused; {runs}; goes back when it can", host=host)
        for host in sorted(stayed - set(lost))
    ]
    return excused + [
        Reason(
            code="host-unreachable",
            message=f"{silent}; {runs}" if host in stayed else silent,
            host=host,
        )
        for host in lost
    ]


def _never_left(rollout: CellRollout, view: View, host: HostName) -> bool:
    """Whether *host* ran the baseline all the time, so that its trouble is not this rollout's.

    One that was not seen to start may have done so unseen: what it runs has to say so too.
    """
    build, word = rollout.cell_plan.revert.for_host(host).build, view.evidence.get(host)
    on_it = word is not None and word.digest == (build.digest if build else "")
    return on_it and host not in rollout.moved


def _stamp_back(rollout: CellRollout, view: View) -> CellRollout:
    """Note when the last host of each fault domain ended its way back."""
    back = with_rank(rollout, view, Rank.HEALTHY, Rank.FAILED, Rank.REGRESSED, reverting=True)
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
