"""How far each host is with one rollout.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import FINAL_STATES, Reason, RolloutHost, RolloutView
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.conducted import latest
from p2pdeploy.planning.views import host_progress
from p2pdeploy.topology import Host
from p2ptracker.rollouts.view import CellSight

__all__ = ["rows_of_hosts"]


def rows_of_hosts(
    view: RolloutView, cells: Sequence[tuple[CellSight, Mapping[HostName, Host]]]
) -> list[RolloutHost]:
    """The hosts of a rollout, by cell, fault domain and name.

    Args:
        view: The rollout.
        cells: Each of its cells as it is seen now, and every host of it.
    """
    rows = [row for sight, hosts in cells for row in _rows_of_cell(view, sight, hosts)]
    return sorted(rows, key=lambda row: (row.cell, row.fault_domain, row.host))


def _rows_of_cell(
    view: RolloutView, sight: CellSight, hosts: Mapping[HostName, Host]
) -> list[RolloutHost]:
    entry = latest(sight.conducted, view.service)
    rollout = entry.rollout if entry is not None and entry.rollout_id == view.id else None
    words = sight.evidence.get(view.service, {})
    failures = {reason.host: reason for reason in view.failures}
    return [
        _row(view, sight, hosts[host], words.get(host), rollout, failures.get(host))
        for host in (hosts if rollout is None else _targets(rollout))
        if host in hosts
    ]


def _targets(rollout: CellRollout) -> list[HostName]:
    roster = [member.host for member in rollout.cell_plan.roster.members]
    return [*roster, *rollout.cell_plan.absent]


def _row(
    view: RolloutView,
    sight: CellSight,
    host: Host,
    word: Attestation | None,
    rollout: CellRollout | None,
    failure: Reason | None,
) -> RolloutHost:
    if rollout is None:  # another rollout has taken its place here, or it has not begun
        state = "moved-on" if view.state in FINAL_STATES else "waiting"
    elif host.name in rollout.cell_plan.absent:
        state = "absent"
    else:
        state = host_progress(rollout, host.name, word)
    said = word.reason if word else ""
    return RolloutHost(
        host=host.name,
        cell=sight.conducted.cell,
        fault_domain=host.fault_domain,
        state=state,
        version=word.version if word else "",
        alive=host.name in sight.alive,
        reason=said or (failure.message if failure else ""),
    )
