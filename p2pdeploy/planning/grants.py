"""Which plans of a cell the next GO covers.

* One plan of a cell activates at a time, the oldest first, until it ends or is paused: the hosts
  it has STARTED lie in one fault domain by its own gates, so the union over all services does too.
* A way back is always granted.
* No host that is lost is covered: it may hear though it is not heard, and time has to tell when
  it can have nothing under way any more.
* What has settled is granted to hosts that lag behind (:mod:`~p2pdeploy.planning.converging`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Grant
from p2pdeploy.planning.cell_rollout import CellRollout, View

__all__ = ["activation_blocker", "activation_holder", "grant_for"]


def activation_holder(
    rollouts: Sequence[tuple[CellRollout, View]],
    *,
    holding: ServiceName | None,
    activating_until: Mapping[ServiceName, float],
) -> int | None:
    """Which of a cell's rollouts may activate now; None when none wants to, or all have to wait.

    Args:
        rollouts: Every rollout of the cell, oldest first.
        holding: The service that the last GO let activate; it goes on while it wants to.
        activating_until: Per service, until when something that a GO let activate may still be
            under way.  Another rollout begins only when that is over or the hosts say so.
    """
    wanting = [
        index
        for index, (rollout, _) in enumerate(rollouts)
        if rollout.phase == "activating" and not rollout.paused
    ]
    for index in wanting:
        if rollouts[index][0].plan.service == holding:
            return index
    for index in wanting:
        others = [other for number, other in enumerate(rollouts) if number != index]
        if not any(_may_be_activating(*other, activating_until) for other in others):
            return index
    return None


def activation_blocker(
    rollouts: Sequence[tuple[CellRollout, View]],
    waiting: int,
    *,
    holding: ServiceName | None,
    activating_until: Mapping[ServiceName, float],
) -> int | None:
    """Which other rollout keeps rollout number *waiting* from activating.

    The other arguments are those of :func:`activation_holder`.  None when it may activate, or
    does not want to.
    """
    rollout, _ = rollouts[waiting]
    if rollout.phase != "activating" or rollout.paused:
        return None
    holder = activation_holder(rollouts, holding=holding, activating_until=activating_until)
    if holder is not None:
        return None if holder == waiting else holder
    for index, other in enumerate(rollouts):
        if index != waiting and _may_be_activating(*other, activating_until):
            return index
    return None


def _may_be_activating(
    rollout: CellRollout, view: View, activating_until: Mapping[ServiceName, float]
) -> bool:
    if view.now >= activating_until.get(rollout.plan.service, 0.0):
        return False
    if rollout.phase == "activating":
        return True  # paused: until its lease has run out, any of its hosts may still start
    members = rollout.cell_plan.roster.members
    return not all(_has_left(view.evidence.get(m.host), rollout.plan.plan_seq) for m in members)


def _has_left(word: Attestation | None, plan_seq: int) -> bool:
    """Whether a host has ended this plan, or accepted a later order and can't start it any more."""
    if word is None or word.plan_seq < plan_seq:
        return False
    return word.plan_seq > plan_seq or word.rank >= Rank.HEALTHY


def grant_for(rollout: CellRollout, *, holds_activation: bool, now: float) -> Grant | None:
    """The grant of one rollout in the next GO, or None."""
    plan = rollout.plan
    if rollout.phase == "reverting":
        turns = sorted(rollout.going_back.items())
        hosts = [h for h, at in turns if now - at < rollout.quiet_s and h not in rollout.lost_since]
        if hosts:
            back_seq, named = plan.plan_seq + 1, tuple(hosts)
            return Grant(service=plan.service, plan_seq=back_seq, phase="revert", hosts=named)
    if now < rollout.hold_until:
        return None
    if rollout.phase == "activating" and holds_activation and not rollout.paused:
        return Grant(
            service=plan.service,
            plan_seq=plan.plan_seq,
            phase="activate",
            up_to=len(plan.fault_domains) - 1,
            without=tuple(sorted(rollout.lost_since)),
            predecessor_quiet_at=rollout.predecessor_quiet_at,
        )
    return None
