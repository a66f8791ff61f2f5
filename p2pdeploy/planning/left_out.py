"""Since when the newest GO lets a host start nothing, of those for which that matters.

A host that cannot be seen may still hear.  It counts as quiet only when everything it could have
begun under the last GO that covered it has had its time, so GOs leave it out and that is counted.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.orders import Go
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.conducted import Conducted, Entry
from p2pdeploy.planning.converging import Converging

__all__ = ["count_anew", "note_left_out"]


def note_left_out(conducted: Conducted, now: float) -> Conducted:
    """Note it of every rollout under way and of who converges, once the next GO is known."""
    entries = tuple(
        Entry(entry.rollout_id, _noted(entry.rollout, conducted.go, now))
        for entry in conducted.entries
    )
    converging = {
        service: _noted_of_late(late, _converging_by(conducted.go, service), now)
        for service, late in conducted.converging.items()
    }
    if (entries, converging) == (conducted.entries, conducted.converging):
        return conducted
    return msgspec.structs.replace(conducted, entries=entries, converging=converging)


def count_anew(conducted: Conducted) -> Conducted:
    """What a control plane starts with: an older database does not know of the newest GOs."""
    entries = tuple(
        Entry(entry.rollout_id, msgspec.structs.replace(entry.rollout, left_out_at={}))
        for entry in conducted.entries
    )
    converging = {
        service: msgspec.structs.replace(late, left_out_at={})
        for service, late in conducted.converging.items()
    }
    return msgspec.structs.replace(conducted, entries=entries, converging=converging)


def _noted_of_late(late: Converging, covered: set[HostName], now: float) -> Converging:
    left_out_at = {
        host: late.left_out_at.get(host, now) for host in late.named_at if host not in covered
    }
    return msgspec.structs.replace(late, left_out_at=left_out_at)


def _converging_by(go: Go | None, service: ServiceName) -> set[HostName]:
    """Who may converge by *go*."""
    grants = [g for g in (go.grants if go else ()) if g.phase == "converge"]
    return {host for grant in grants if grant.service == service for host in grant.hosts}


def _noted(rollout: CellRollout, go: Go | None, now: float) -> CellRollout:
    if rollout.phase == "done":
        return rollout
    known, covered = rollout.left_out_at, _covered(rollout, go)
    concerned = sorted({*rollout.lost_since, *rollout.going_back} - covered)
    left_out_at = {host: known.get(host, now) for host in concerned}
    if left_out_at == known:
        return rollout
    return msgspec.structs.replace(rollout, left_out_at=left_out_at)


def _covered(rollout: CellRollout, go: Go | None) -> set[HostName]:
    """The roster hosts that *go* lets start the plan, or its way back."""
    plan, found = rollout.plan, set[HostName]()
    for grant in go.grants if go else ():
        if grant.service == plan.service and grant.phase == "activate":
            roster = {member.host for member in rollout.cell_plan.roster.members}
            found |= roster.difference(grant.without)
        elif grant.service == plan.service:
            found |= set(grant.hosts)
    return found
