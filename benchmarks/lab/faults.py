"""Every fault of a lab by name: what happens before a rollout and while it is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.area_faults import cut_cell, kill_domain
from lab.control_plane_faults import kill_origin_when_planted, kill_tracker, restart_origin
from lab.host_faults import (
    count_garbage,
    kill_host,
    leave_out_victim,
    make_disk_small,
    make_room,
    replace_by_garbage,
    slow_down,
)
from lab.plan import Plan
from lab.rollout import Rollout
from lab.scene import Scene, Struck

__all__ = ["FAULTS", "Fault"]


def _nothing(scene: Scene) -> None:
    del scene


def _always(plan: Plan) -> str:
    del plan
    return ""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``prepare`` runs before the rollout is accepted, ``strike`` while it is under way.

    ``why_not``: why a plan has no room for it; empty when it has.
    """

    strike: Callable[[Scene, Rollout], Struck]
    prepare: Callable[[Scene], None] = _nothing
    why_not: Callable[[Plan], str] = _always


def _needs_others(plan: Plan) -> str:
    return "" if len(plan.hosts) > 1 else "it needs --hosts 2 or more"


def _needs_racks(plan: Plan) -> str:
    return "" if any(host.rack for host in plan.hosts) else "it needs --racks 2 or more"


def _needs_cells(plan: Plan) -> str:
    cells = [cable for cable in plan.cables if cable.kind == "cell"]
    return "" if cells else "it needs --cells 2 or more"


FAULTS = {
    "tracker-killed-30": Fault(strike=kill_tracker),
    "origin-killed-planted": Fault(strike=kill_origin_when_planted),
    "origin-restarted-30": Fault(strike=restart_origin),
    "slow-host": Fault(prepare=slow_down, strike=leave_out_victim, why_not=_needs_others),
    "host-killed": Fault(strike=kill_host, why_not=_needs_others),
    "garbage-peer": Fault(prepare=replace_by_garbage, strike=count_garbage, why_not=_needs_others),
    "disk-full": Fault(prepare=make_disk_small, strike=make_room, why_not=_needs_others),
    "domain-gone": Fault(strike=kill_domain, why_not=_needs_racks),
    "cell-cut": Fault(strike=cut_cell, why_not=_needs_cells),
}
