"""A rollout plan as people read it: what changes, in which order, under which limits."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import PlannedCell, RolloutPlanView

__all__ = ["show_batches", "view_plan"]

_NAMES_SHOWN_MAX = 8  # a line of names; the JSON document has all of them


def view_plan(plan: RolloutPlanView, revoked: Container[HostName] = ()) -> RenderableType:
    """The whole plan: a head line, a table per cell, every limit, the check-index.

    *revoked* are hosts that come back only if they are let in anew.
    """
    head = f"{plan.service} {plan.version}: "
    head += f"{plan.changes} hosts change" if plan.changes else "nothing to do"
    parts: list[RenderableType] = [Text(head, style="bold")]
    for cell in plan.cells:
        parts += _cell(cell, revoked)
    parts += [Text(f"{reason.code}: {reason.message}") for reason in plan.reasons]
    parts += [Text(""), Text("limits in force:", style="bold"), _limits(plan)]
    parts += [
        Text(""),
        Text(f"check-index {plan.check_index}  (--check-index makes apply refuse any other plan)"),
    ]
    return Group(*parts)


def _cell(cell: PlannedCell, revoked: Container[HostName]) -> list[RenderableType]:
    table = plain_table("FAULT DOMAIN", "HOSTS", "BATCHES", "FAILURES ALLOWED")
    for domain in cell.fault_domains:
        table.add_row(
            domain.name, str(domain.hosts), show_batches(domain.batches), str(domain.failures_max)
        )
    back = f"back to {cell.baseline}" if cell.baseline else "back to nothing installed"
    lines: list[RenderableType] = [
        Text(""),
        Text.from_markup(
            f"[bold]{escape(cell.cell)}[/]  now {escape(cell.current) or 'nothing'}, "
            f"on failure {escape(back)}"
        ),
        table,
    ]
    if cell.unchanged:
        lines.append(Text(f"unchanged, since healthy with it already: {_names(cell.unchanged)}"))
    if down := [host for host in cell.absent if host not in revoked]:
        lines.append(Text(f"down now, converge later: {_names(down)}"))
    if out := [host for host in cell.absent if host in revoked]:
        lines.append(Text(f"revoked, take no part: {_names(out)}"))
    return lines


def _limits(plan: RolloutPlanView) -> RenderableType:
    table = FactTable()
    rows = [
        ("max_unavailable", str(plan.max_unavailable), "hosts a cell may lack because of this"),
        ("failure_fraction_max", f"{plan.failure_fraction_max:g}", "of a fault domain, else halt"),
        (
            "brakes_max",
            str(plan.brakes_max),
            "hosts that stop the rollout when they report failure",
        ),
        ("bake", show_duration(plan.bake_s), "healthy this long before a host counts"),
        ("settle", show_duration(plan.settle_s), "wait between fault domains"),
        ("activation_max", show_duration(plan.activation_max_s), "from start to outcome on a host"),
        ("lease", show_duration(plan.lease_s), "how long a GO allows starts"),
    ]
    for name, value, meaning in rows:
        table.add_row(Text(f"  {name}"), Text(value), Text(meaning, style="dim"))
    return table


def show_batches(batches: Sequence[int]) -> str:
    """``[1, 5, 5]`` as ``1 + 2x5``."""
    parts = [(size, len(list(same))) for size, same in groupby(batches)]
    return " + ".join(str(size) if count == 1 else f"{count}x{size}" for size, count in parts)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN_MAX])
    more = len(names) - _NAMES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
