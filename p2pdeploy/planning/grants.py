"""Which plans of a cell the next GO covers.

* One plan of a cell activates at a time, the oldest first: the hosts it has STARTED lie in one
  fault domain by its own gates, so the union over all services does too.
* A way back is always granted.
* What has settled is granted to hosts that lag behind, ``max_unavailable`` names at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Grant, Settled
from p2pdeploy.planning.cell_rollout import CellRollout, View

__all__ = ["activation_holder", "converge_grant", "grant_for"]


def activation_holder(rollouts: Sequence[tuple[CellRollout, View]]) -> int | None:
    """Which of a cell's rollouts, oldest first, may activate now; None when none wants to.

    A paused one gives way as soon as none of its hosts is in the middle of a change.
    """
    for index, (rollout, view) in enumerate(rollouts):
        if rollout.phase != "activating":
            continue
        started = any(
            word.plan_seq == rollout.plan.plan_seq and word.rank is Rank.STARTED
            for word in view.evidence.values()
        )
        if started or not rollout.paused:
            return index
    return None


def grant_for(rollout: CellRollout, *, holds_activation: bool, now: float) -> Grant | None:
    """The grant of one rollout in the next GO, or None."""
    plan = rollout.plan
    if rollout.phase == "reverting" and rollout.going_back:
        return Grant(
            service=plan.service,
            plan_seq=plan.plan_seq + 1,
            phase="revert",
            hosts=tuple(sorted(rollout.going_back)),
        )
    if now < rollout.hold_until:
        return None
    if rollout.phase == "activating" and holds_activation and not rollout.paused:
        return Grant(
            service=plan.service,
            plan_seq=plan.plan_seq,
            phase="activate",
            up_to=len(plan.fault_domains) - 1,
            predecessor_quiet_at=rollout.predecessor_quiet_at,
        )
    return None


def converge_grant(
    settled: Settled, evidence: Mapping[HostName, Attestation], alive: frozenset[HostName]
) -> Grant | None:
    """Name the next hosts that run something else than what settled; None when there are none."""
    lagging = [
        host
        for host, word in sorted(evidence.items())
        if host in alive
        and (not settled.hosts or host in settled.hosts)
        and word.digest
        and not _arrived(word, settled)
    ]
    if not lagging:
        return None
    lagging.sort(key=lambda host: evidence[host].rank is not Rank.STARTED)
    return Grant(
        service=settled.service,
        plan_seq=settled.plan_seq,
        phase="converge",
        hosts=tuple(lagging[: settled.max_unavailable]),
    )


def _arrived(word: Attestation, settled: Settled) -> bool:
    """Whether *word* says that the host is there, or has tried this and failed."""
    if word.plan_seq == settled.plan_seq and word.rank >= Rank.HEALTHY:
        return True
    build = settled.build
    there = build is not None and (word.version, word.digest) == (build.version, build.digest)
    return there and word.rank is not Rank.STARTED
