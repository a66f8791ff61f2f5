"""What the control plane must remember of one cell, and what it is told by it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Go, Settled
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.converging import Converging

__all__ = ["Conducted", "Entry", "Evidence", "latest", "replace_rollout"]

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
    ``converging`` is per service who may be changing to what settled.
    """

    cell: CellId
    entries: tuple[Entry, ...] = ()
    settled: dict[ServiceName, Settled] = {}
    converging: dict[ServiceName, Converging] = {}
    busy_until: dict[ServiceName, float] = {}
    activating_until: dict[ServiceName, float] = {}
    go: Go | None = None


def latest(conducted: Conducted, service: ServiceName) -> Entry | None:
    """The newest rollout of *service* in this cell."""
    return next((e for e in conducted.entries if e.rollout.plan.service == service), None)


def replace_rollout(conducted: Conducted, rollout: CellRollout) -> Conducted:
    """The same cell with one rollout's value replaced, found by its service."""
    entries = tuple(
        Entry(e.rollout_id, rollout) if e.rollout.plan.service == rollout.plan.service else e
        for e in conducted.entries
    )
    return msgspec.structs.replace(conducted, entries=entries)
