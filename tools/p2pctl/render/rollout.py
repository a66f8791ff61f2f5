"""A rollout as a live tree, in the manner of ``kubectl argo rollouts get rollout -w``.

State and reasons stand first, where the lowest screen has them.  A line per fault domain, never
per host unless asked.  Pure: the present is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.render.glyphs import look, styled
from p2pctl.render.listings import show_bytes, show_time
from p2pctl.render.rollout_tree import (
    FittedRollout,
    fault_domain_state,
    show_took,
    tree_rows,
)
from p2pctl.render.swarm import swarm_lines
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.messages.api import Reason, RolloutHost, RolloutView

__all__ = ["rollout_line", "view_history", "view_reasons", "view_rollout"]

_REASONS_SHOWN_MAX = 6  # the screen of a live view is for the tree; `rollout why` has the rest


def view_rollout(
    rollout: RolloutView,
    now: datetime,
    hosts: Sequence[RolloutHost] | None = None,
    *,
    fits_screen: bool = False,
) -> RenderableType:
    """The state, the reasons and the tree.

    Args:
        rollout: The document.
        now: Aware UTC time, for how long it has taken.
        hosts: With these a line per host stands under its fault domain.
        fits_screen: Leave lines of the tree out that a screen has no room for.
    """
    head = Group(_facts(rollout, now), Text(""))
    return FittedRollout(head, tree_rows(rollout, now, hosts), fits_screen=fits_screen)


def _facts(rollout: RolloutView, now: datetime) -> FactTable:
    table = FactTable()
    shown = rollout.reasons[:_REASONS_SHOWN_MAX]
    more = len(rollout.reasons) - len(shown)
    rows: list[tuple[str, RenderableType]] = [
        ("Rollout:", escape(rollout.id)),
        ("Release:", f"[bold]{escape(rollout.service)} {escape(rollout.version)}[/]"),
        ("Goes back to:", escape(rollout.baseline) or "nothing installed"),
        ("Status:", styled(rollout.state)),
    ]
    rows += [("" if number else "Why:", _reason(reason)) for number, reason in enumerate(shown)]
    if more:
        rows.append(("", Text(f"and {more} more: p2pctl rollout why {rollout.id}", style="dim")))
    rows.append(("Took:", show_took(rollout.created_at, rollout.finished_at, now)))
    if rollout.bytes_per_host_max:
        rows.append(("Fetched:", f"at most {show_bytes(rollout.bytes_per_host_max)} by any host"))
    if rollout.swarm is not None:
        rows += swarm_lines(rollout.swarm)
    if rollout.absent:
        rows.append(("Absent:", f"{len(rollout.absent)} hosts were down at the start"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _reason(reason: Reason) -> Text:
    return Text(f"{_said(reason)} [{reason.code}]")


def _said(reason: Reason) -> str:
    """The message, behind the names that it neither begins nor ends with."""
    words = reason.message.split()
    places = (reason.fault_domain, reason.host)
    lacking = [place for place in places if place and place not in words[:1] + words[-1:]]
    return f"{' '.join(lacking)}: {reason.message}" if lacking else reason.message


def rollout_line(rollout: RolloutView, now: datetime | None = None) -> str:
    """One plain line for logs and pipes: state, each fault domain's counts, the first reason."""
    domains = "  ".join(
        f"{domain.name} {look(fault_domain_state(domain)).glyph} {domain.healthy}/{domain.total}"
        + (f" ({domain.failed} failed)" if domain.failed else "")
        for domain in rollout.fault_domains
    )
    took = f"  {show_took(rollout.created_at, rollout.finished_at, now)}" if now else ""
    why = f"  - {_said(rollout.reasons[0])}" if rollout.reasons else ""
    head = f"{rollout.service} {rollout.version} {look(rollout.state).glyph} {rollout.state}"
    return f"{head}{took}  {domains}{why}"


def view_history(rollouts: Sequence[RolloutView], now: datetime) -> RenderableType:
    """Rollouts, a line each."""
    if not rollouts:
        return Text("no rollouts")
    table = plain_table("ID", "VERSION", "STATE", "BEGAN", "TOOK", "HOSTS", "REASON")
    for rollout in rollouts:
        healthy = sum(domain.healthy for domain in rollout.fault_domains)
        total = sum(domain.total for domain in rollout.fault_domains)
        table.add_row(
            escape(rollout.id),
            escape(rollout.version),
            styled(rollout.state),
            show_time(rollout.created_at),
            show_took(rollout.created_at, rollout.finished_at, now),
            f"{healthy}/{total}",
            escape(_said(rollout.reasons[0])) if rollout.reasons else "",
        )
    return table


def view_reasons(reasons: Sequence[Reason]) -> RenderableType:
    """Every reason, a line each."""
    return Group(*(_reason(r) for r in reasons)) if reasons else Text("nothing to explain")
