"""An operator's word on a rollout: what it changes in its cells, or why it is refused.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason, RolloutState, RolloutView
from p2pdeploy.messages.orders import Order
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.conducted import Conducted, Entry, latest, replace_rollout
from p2pdeploy.planning.steering import ask_abort, excuse, retry
from p2ptracker.rollouts.view import CellSight, rollout_in

__all__ = ["Verb", "excuse_hosts", "steer"]

Verb = Literal["pause", "resume", "retry", "abort", "revert"]

_STATES_FOR: dict[Verb | str, tuple[RolloutState, ...]] = {
    "pause": ("planned", "running"),
    "resume": ("paused",),
    "retry": ("planned", "running", "paused"),
    "abort": ("planned", "running", "paused"),
    "revert": ("planned", "running", "paused", "complete"),
    "excuse hosts": ("planned", "running", "paused", "rolling-back"),
}


def steer(
    view: RolloutView, verb: Verb, cells: Sequence[CellSight]
) -> list[tuple[Conducted, list[Order]]]:
    """Pause, resume, retry, abort or revert in every cell of the rollout.

    Raises:
        RefusedError: its state forbids that, a newer rollout has taken its place, or there is
            nothing to try again.
    """
    _refuse_state(view, verb, code="wrong-state")
    changes = [_steered(view, verb, cell) for cell in cells]
    if verb == "retry" and not any(orders for _, orders in changes):
        raise RefusedError(
            f"{view.id} has nothing to try again: no host failed, or it was tried too often",
            hint=f"p2pctl rollout status {view.id}",
            code="nothing-to-retry",
        )
    return changes


def _steered(view: RolloutView, verb: Verb, cell: CellSight) -> tuple[Conducted, list[Order]]:
    entry = latest(cell.conducted, view.service)
    if entry is None or entry.rollout_id != view.id:
        raise RefusedError(
            f"{view.id} is not the newest rollout of {view.service} in {cell.conducted.cell}",
            hint=_instead(verb, view, entry),
            code="superseded",
        )
    rollout, orders = entry.rollout, list[Order]()
    match verb:
        case "pause" | "resume":
            rollout = _set_paused(rollout, paused=verb == "pause")
        case "retry":
            rollout, orders = retry(rollout, cell.view_of(view.service))
        case "abort":
            reason = Reason(code="operator", message="aborted by an operator")
            rollout, orders = ask_abort(rollout, result="aborted", reason=reason, now=cell.now)
        case "revert":
            reason = Reason(code="operator", message="reverted by an operator")
            rollout, orders = ask_abort(rollout, result="rolled-back", reason=reason, now=cell.now)
    return replace_rollout(cell.conducted, rollout), orders


def _instead(verb: Verb, view: RolloutView, newest: Entry | None) -> str:
    """What can be done, now that a newer rollout has taken the place of *view*'s."""
    if verb != "revert":
        return f"that one can be asked: {newest.rollout_id}" if newest else ""
    again = f"roll {view.baseline or 'an older version'} out: p2pctl rollout apply"
    goes_forward = newest is not None and newest.rollout.phase == "activating"
    if newest is not None and (goes_forward or newest.rollout.result == "complete"):
        return f"revert {newest.rollout_id} first, or {again}"
    return again


def _set_paused(rollout: CellRollout, *, paused: bool) -> CellRollout:
    """Paused or not, with a reason that says so before the next look finds one."""
    rollout = msgspec.structs.replace(rollout, paused=paused)
    if rollout.phase != "activating":
        return rollout  # its reasons say how it ended here
    if paused:
        reason = Reason(code="paused", message="paused by an operator")
    else:
        reason = Reason(code="resumed", message="resumed by an operator; its hosts are being told")
    return msgspec.structs.replace(rollout, reasons=(reason,))


def excuse_hosts(
    view: RolloutView, hosts: Sequence[HostName], reason: str, cells: Sequence[CellSight]
) -> list[tuple[Conducted, list[Order]]]:
    """Stop waiting for *hosts* in the cells that have them.

    Raises:
        RefusedError: the rollout does not wait for one of them or for anything, or a fault
            domain does not tolerate so many.
    """
    _refuse_state(view, "excuse hosts", code="not-running")
    rosters = [
        {m.host for m in rollout_in(cell.conducted, view.service).cell_plan.roster.members}
        for cell in cells
    ]
    strangers = sorted(set(hosts).difference(*rosters))
    if strangers or not hosts:
        raise RefusedError(
            f"{view.id} does not wait for {strangers[0]!r}" if strangers else "no host is named",
            hint="only hosts of its roster can be excused",
            code="not-in-roster",
        )
    changes: list[tuple[Conducted, list[Order]]] = []
    for cell, roster in zip(cells, rosters, strict=True):
        if roster.isdisjoint(hosts):
            continue
        rollout, orders, refusal = excuse(
            rollout_in(cell.conducted, view.service),
            tuple(hosts),
            reason,
            cell.view_of(view.service),
        )
        if refusal:
            raise RefusedError(
                refusal,
                hint="wait for these hosts, bring them back, or 'p2pctl rollout abort' it",
                code="too-many-excused",
            )
        changes.append((replace_rollout(cell.conducted, rollout), orders))
    return changes


def _refuse_state(view: RolloutView, what: Verb | str, *, code: str) -> None:
    possible = _STATES_FOR[what]
    if view.state not in possible:
        raise RefusedError(
            f"{view.id} is {view.state}, so it cannot be asked to {what}",
            hint=f"possible while it is {_any_of(possible)}",
            code=code,
        )


def _any_of(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
