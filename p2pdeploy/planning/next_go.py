"""When a cell gets its next GO, and which of its rollouts that one covers."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.limits import CLOCK_ERROR_S, LEASE_RENEW_S, LEASE_S
from p2pdeploy.messages.orders import Go, Grant
from p2pdeploy.planning.cell_rollout import CellRollout, View
from p2pdeploy.planning.conducted import Conducted, Entry, Evidence, latest
from p2pdeploy.planning.converging import converge_grant
from p2pdeploy.planning.grants import (
    activation_blocker,
    activation_holder,
    grant_for,
)

__all__ = ["activates_before", "next_go"]


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


def next_go(
    conducted: Conducted,
    evidence: Evidence,
    alive: frozenset[HostName],
    now: float,
    *,
    lease_seq_seen: int,
) -> tuple[Conducted, Go | None]:
    """A GO when what it allows has changed, or when the last one is to be renewed.

    Also when the cell holds one of a higher number: it heeds only what is above that.
    """
    grants = tuple(_grants(conducted, evidence, alive, now))
    last = conducted.go
    lease_seq = last.lease_seq if last else 0
    if last is None and not grants:
        return conducted, None
    fresh = last is not None and (not grants or now - last.issued_at < LEASE_RENEW_S)
    if last is not None and last.grants == grants and fresh and lease_seq >= lease_seq_seen:
        return conducted, None
    go = Go(
        cell=conducted.cell,
        lease_seq=max(lease_seq, lease_seq_seen) + 1,
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
            view = View(evidence.get(service, {}), alive, now)
            grant = converge_grant(conducted.converging[service], settled, view)
            grants += [grant] if grant else []
    return grants


def _holding(go: Go | None) -> ServiceName | None:
    """The service that the last GO let activate."""
    grants = go.grants if go else ()
    return next((grant.service for grant in grants if grant.phase == "activate"), None)


def _rollouts(
    conducted: Conducted, evidence: Evidence, alive: frozenset[HostName], now: float
) -> list[tuple[CellRollout, View]]:
    return [
        (e.rollout, View(evidence.get(e.rollout.plan.service, {}), alive, now))
        for e in conducted.entries
    ]
