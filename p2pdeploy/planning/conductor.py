"""One cell as the control plane conducts it: all its rollouts, its lease, what has settled.

``conduct`` maps a stored value and what the cell attests to the next value and the orders to
issue.  The caller stores the value first and issues the orders after, so a crash in between
repeats orders and never takes one back.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.limits import CLOCK_ERROR_S, LEASE_RENEW_S, LEASE_S, SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Go, Grant, Order, Rollout, Settled
from p2pdeploy.planning.cell_rollout import CellRollout, View, open_cell_rollout
from p2pdeploy.planning.grants import (
    activation_blocker,
    activation_holder,
    converge_grant,
    grant_for,
)
from p2pdeploy.planning.look import look
from p2pdeploy.planning.planner import CellPlan

__all__ = [
    "Conducted",
    "Entry",
    "activates_before",
    "conduct",
    "latest",
    "open_rollout",
    "replace_rollout",
]

# As many services as a host may run; an older one can't be reverted any more, only rolled out.
FINISHED_MAX = SERVICES_PER_HOST_MAX
SETTLED_RENEW_S = 3600.0  # a late host needs one that has not expired (24 h)
Evidence = Mapping[ServiceName, Mapping[HostName, Attestation]]


class Entry(msgspec.Struct, frozen=True):
    """One rollout of this cell."""

    rollout_id: RolloutId
    rollout: CellRollout


class Conducted(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the control plane must remember of one cell.

    ``entries`` are in order of acceptance; of each service only the newest is kept, and of those
    that have ended the newest ``FINISHED_MAX``.
    ``busy_until`` is per service the latest time at which something that a GO allowed may still
    be under way; ``activating_until`` the same for what it let activate, since the last rollout
    that left no host behind.
    """

    cell: CellId
    entries: tuple[Entry, ...] = ()
    settled: dict[ServiceName, Settled] = {}
    busy_until: dict[ServiceName, float] = {}
    activating_until: dict[ServiceName, float] = {}
    go: Go | None = None


def latest(conducted: Conducted, service: ServiceName) -> Entry | None:
    """The newest rollout of *service* in this cell."""
    return next((e for e in conducted.entries if e.rollout.plan.service == service), None)


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
    hold_until = quiet_at if _somebody_may_be_busy(conducted, cell_plan, evidence) else 0.0
    opened = open_cell_rollout(cell_plan, quiet_at=quiet_at, hold_until=hold_until)
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


def _somebody_may_be_busy(
    conducted: Conducted, cell_plan: CellPlan, evidence: Mapping[HostName, Attestation]
) -> bool:
    """Whether a host outside the new roster may be in the middle of the order before it.

    Hosts in the roster say ACCEPTED when they are not; the others are known to be idle only if
    their last word is an outcome of that very order.
    """
    before = latest(conducted, cell_plan.plan.service)
    settled = conducted.settled.get(cell_plan.plan.service)
    if before is None or settled is None:
        return before is not None
    roster = {member.host for member in cell_plan.roster.members}
    others = {m.host for m in before.rollout.cell_plan.roster.members} | evidence.keys()
    return any(
        word is None or word.plan_seq != settled.plan_seq or word.rank < Rank.HEALTHY
        for word in (evidence.get(host) for host in others - roster)
    )


def replace_rollout(conducted: Conducted, rollout: CellRollout) -> Conducted:
    """The same cell with one rollout's value replaced, found by its service."""
    entries = tuple(
        Entry(e.rollout_id, rollout) if e.rollout.plan.service == rollout.plan.service else e
        for e in conducted.entries
    )
    return msgspec.structs.replace(conducted, entries=entries)


def conduct(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> tuple[Conducted, list[Order]]:
    """Look at every rollout once, settle what has ended, and issue a GO when one is due."""
    conducted, orders = _look_at_all(conducted, evidence, alive, now)
    conducted, renewed = _renew_settled(conducted, now)
    conducted, go = _go(conducted, evidence, alive, now)
    return conducted, [*orders, *renewed, *([go] if go else [])]


def _look_at_all(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> tuple[Conducted, list[Order]]:
    orders: list[Order] = []
    settled = dict(conducted.settled)
    for entry in conducted.entries:
        service = entry.rollout.plan.service
        view = View(evidence.get(service, {}), alive, now)
        rollout, more = look(entry.rollout, view)
        conducted = replace_rollout(conducted, rollout)
        settled.update({order.service: order for order in more if isinstance(order, Settled)})
        orders += more
    return msgspec.structs.replace(conducted, settled=settled), orders


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


def activates_before(
    conducted: Conducted,
    service: ServiceName,
    evidence: Evidence,
    alive: frozenset[HostName],
    now: float,
) -> Entry | None:
    """The rollout of another service that *service*'s waits for, because one activates at a time.

    None when nothing is in its way, or when *service* has no rollout here.
    """
    services = [entry.rollout.plan.service for entry in conducted.entries]
    if service not in services:
        return None
    blocker = activation_blocker(
        _rollouts(conducted, evidence, alive, now),
        services.index(service),
        holding=_holding(conducted.go),
        activating_until=conducted.activating_until,
    )
    return None if blocker is None else conducted.entries[blocker]


def _rollouts(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> list[tuple[CellRollout, View]]:
    return [
        (e.rollout, View(evidence.get(e.rollout.plan.service, {}), alive, now))
        for e in conducted.entries
    ]


def _grants(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> list[Grant]:
    rollouts = _rollouts(conducted, evidence, alive, now)
    holder = activation_holder(
        rollouts, holding=_holding(conducted.go), activating_until=conducted.activating_until
    )
    grants: list[Grant] = []
    under_way: set[ServiceName] = set()
    for index, (rollout, _) in enumerate(rollouts):
        if rollout.phase != "done":
            under_way.add(rollout.plan.service)
        grant = grant_for(rollout, holds_activation=index == holder, now=now)
        grants += [grant] if grant else []
    for service, settled in sorted(conducted.settled.items()):
        if service not in under_way:
            grant = converge_grant(settled, evidence.get(service, {}), alive)
            grants += [grant] if grant else []
    return grants


def _holding(go: Go | None) -> ServiceName | None:
    """The service that the last GO let activate."""
    grants = go.grants if go else ()
    return next((grant.service for grant in grants if grant.phase == "activate"), None)


def _go(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> tuple[Conducted, Go | None]:
    """A GO when what it allows has changed, or when the last one is to be renewed."""
    grants = tuple(_grants(conducted, evidence, alive, now))
    last = conducted.go
    if last is None and not grants:
        return conducted, None
    fresh = last is not None and (not grants or now - last.issued_at < LEASE_RENEW_S)
    if last is not None and last.grants == grants and fresh:
        return conducted, None
    go = Go(
        cell=conducted.cell,
        lease_seq=last.lease_seq + 1 if last else 1,
        issued_at=now,
        not_after=now + LEASE_S,
        grants=grants,
    )
    until = {
        grant.service: go.not_after + CLOCK_ERROR_S + _longest(conducted, grant) for grant in grants
    }
    activating = {grant.service for grant in grants if grant.phase == "activate"}
    conducted = msgspec.structs.replace(
        conducted,
        go=go,
        busy_until=conducted.busy_until | until,
        activating_until=conducted.activating_until
        | {service: until[service] for service in activating},
    )
    return conducted, go


def _longest(conducted: Conducted, grant: Grant) -> float:
    """How long a start that *grant* allows may take, in seconds."""
    entry = latest(conducted, grant.service)
    settled = conducted.settled.get(grant.service)
    durations = [entry.rollout.plan.activation_max_s] if entry else []
    durations += [settled.activation_max_s] if settled else []
    return max(durations)
