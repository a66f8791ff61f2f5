"""Since when the newest GO lets a host start nothing, of those for which that matters.

A host that cannot be seen may still hear.  It counts as quiet only when everything it could have
begun under the last GO that covered it has had its time, so GOs leave it out and that is counted.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.orders import Go
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.conducted import Conducted, Entry

__all__ = ["count_anew", "note_left_out"]


def note_left_out(conducted: Conducted, now: float) -> Conducted:
    """Note it of every rollout under way; to be called when the next GO is known."""
    entries = tuple(
        Entry(entry.rollout_id, _noted(entry.rollout, conducted.go, now))
        for entry in conducted.entries
    )
    if entries == conducted.entries:
        return conducted
    return msgspec.structs.replace(conducted, entries=entries)


def count_anew(conducted: Conducted) -> Conducted:
    """What a control plane starts with: an older database does not know of the newest GOs."""
    entries = tuple(
        Entry(entry.rollout_id, msgspec.structs.replace(entry.rollout, left_out_at={}))
        for entry in conducted.entries
    )
    return msgspec.structs.replace(conducted, entries=entries)


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
