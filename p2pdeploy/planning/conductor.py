"""One cell as the control plane conducts it: all its rollouts, its lease, what has settled.

``conduct`` maps a stored value and what the cell attests to the next value and the orders to
issue.  The caller stores the value first and issues the orders after, so a crash in between
repeats orders and never takes one back.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Order, Rollout, Settled
from p2pdeploy.planning.cell_rollout import View, open_cell_rollout
from p2pdeploy.planning.conducted import Conducted, Entry, Evidence, latest, replace_rollout
from p2pdeploy.planning.converging import Converging, inherit, name_next
from p2pdeploy.planning.left_out import note_left_out
from p2pdeploy.planning.look import look
from p2pdeploy.planning.next_go import next_go
from p2pdeploy.planning.planner import CellPlan

__all__ = ["conduct", "open_rollout"]

# As many services as a host may run; an older one can't be reverted any more, only rolled out.
FINISHED_MAX = SERVICES_PER_HOST_MAX
SETTLED_RENEW_S = 3600.0  # a late host needs one that has not expired (24 h)


def open_rollout(
    conducted: Conducted,
    rollout: Rollout,
    cell_plan: CellPlan,
    evidence: Mapping[HostName, Attestation],
) -> tuple[Conducted, list[Order]]:
    """Take in a new rollout; the caller has checked that no other of this service is under way.

    Args:
        conducted: The cell.
        rollout: What was approved.
        cell_plan: The planner's plan for this cell.
        evidence: The service's attestations in this cell.
    """
    service = rollout.service
    quiet_at = conducted.busy_until.get(service, 0.0)
    busy = _who_may_be_busy(conducted, cell_plan, evidence)
    opened = open_cell_rollout(
        cell_plan,
        rollout_seq=rollout.rollout_seq,
        quiet_at=quiet_at,
        hold_until=0.0 if busy is None else quiet_at,
        held_for=busy or (),
    )
    entries = (*_kept(conducted, service, rollout.issued_at), Entry(rollout.rollout_id, opened))
    activating_until = dict(conducted.activating_until)
    before = latest(conducted, service)
    if before and before.rollout.result == "complete" and not before.rollout.excused:
        activating_until.pop(service, None)  # every host attested how it ended
    orders: list[Order] = [rollout, cell_plan.roster, cell_plan.plan, cell_plan.revert]
    conducted = msgspec.structs.replace(
        conducted, entries=entries, activating_until=activating_until
    )
    return conducted, orders


def _kept(conducted: Conducted, service: ServiceName, now: float) -> list[Entry]:
    """The entries beside a new one of *service*: whatever may move, and the newest that ended."""
    others = [e for e in conducted.entries if e.rollout.plan.service != service]
    ended = [
        e
        for e in others
        if e.rollout.phase == "done" and conducted.busy_until.get(e.rollout.plan.service, 0) <= now
    ]
    surplus = ended[: max(0, len(ended) - FINISHED_MAX)]
    return [e for e in others if e not in surplus]


def _who_may_be_busy(
    conducted: Conducted, cell_plan: CellPlan, evidence: Mapping[HostName, Attestation]
) -> tuple[HostName, ...] | None:
    """The hosts outside the new roster that may be in the middle of the order before it.

    Hosts in the roster say ACCEPTED when they are not; the others are known to be idle only if
    their last word is an outcome of that very order.

    Returns:
        None when nobody may; empty when somebody may of whom nothing is known.
    """
    before = latest(conducted, cell_plan.plan.service)
    settled = conducted.settled.get(cell_plan.plan.service)
    roster = {member.host for member in cell_plan.roster.members}
    earlier = before.rollout.cell_plan.roster.members if before else ()
    others = sorted(({member.host for member in earlier} | evidence.keys()) - roster)
    if settled is None:
        return tuple(others) if before is not None else None
    words = {host: evidence.get(host) for host in others}
    busy = tuple(
        host
        for host, word in words.items()
        if word is None or word.plan_seq != settled.plan_seq or word.rank < Rank.HEALTHY
    )
    return busy or None


def conduct(
    conducted: Conducted,
    evidence: Evidence,
    alive: frozenset[HostName],
    now: float,
    *,
    lease_seq_seen: int = 0,
) -> tuple[Conducted, list[Order]]:
    """Look at every rollout once, settle what has ended, and issue a GO when one is due.

    Args:
        conducted: As stored.
        evidence: What every host attests of every service.
        alive: Whom the cell's delegates see.
        now: Seconds since the epoch.
        lease_seq_seen: The lease of the GO that the cell holds; above the stored one after an
            older database was restored.  0 when the cell has not said.
    """
    conducted, orders = _look_at_all(conducted, evidence, alive, now)
    conducted = _converge(conducted, evidence, alive, now)
    conducted, renewed = _renew_settled(conducted, now)
    conducted, go = next_go(conducted, evidence, alive, now, lease_seq_seen=lease_seq_seen)
    return note_left_out(conducted, now), [*orders, *renewed, *([go] if go else [])]


def _look_at_all(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> tuple[Conducted, list[Order]]:
    orders: list[Order] = []
    settled, converging = dict(conducted.settled), dict(conducted.converging)
    for entry in conducted.entries:
        service = entry.rollout.plan.service
        view = View(evidence.get(service, {}), alive, now)
        rollout, more = look(entry.rollout, view)
        conducted = replace_rollout(conducted, rollout)
        if rollout.phase == "done" and entry.rollout.phase != "done":
            before = converging.get(service, Converging())
            converging[service] = inherit(before, entry.rollout, view)
        settled.update({order.service: order for order in more if isinstance(order, Settled)})
        orders += more
    return msgspec.structs.replace(conducted, settled=settled, converging=converging), orders


def _converge(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> Conducted:
    """Name who converges next, of every service that has settled and no rollout under way."""
    under_way = {e.rollout.plan.service for e in conducted.entries if e.rollout.phase != "done"}
    converging = conducted.converging | {
        service: name_next(
            conducted.converging.get(service, Converging()),
            settled,
            View(evidence.get(service, {}), alive, now),
        )
        for service, settled in conducted.settled.items()
        if service not in under_way
    }
    if converging == conducted.converging:
        return conducted
    return msgspec.structs.replace(conducted, converging=converging)


def _renew_settled(conducted: Conducted, now: float) -> tuple[Conducted, list[Order]]:
    due = {
        service: msgspec.structs.replace(
            settled, issued_at=now, not_after=now + settled.not_after - settled.issued_at
        )
        for service, settled in conducted.settled.items()
        if now - settled.issued_at >= SETTLED_RENEW_S
    }
    if not due:
        return conducted, []
    return msgspec.structs.replace(conducted, settled={**conducted.settled, **due}), [*due.values()]
