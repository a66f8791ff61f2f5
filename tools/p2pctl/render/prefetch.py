"""Prefetches as lines and tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.render.listings import show_time
from p2pctl.render.tables import plain_table
from p2pdeploy.messages.prefetch import PrefetchView

__all__ = ["prefetch_line", "view_prefetch", "view_prefetches"]


def prefetch_line(prefetch: PrefetchView) -> str:
    """How far it is, in one line."""
    asked = f", for rollout {prefetch.rollout}" if prefetch.rollout else ""
    return (
        f"{prefetch.service} {prefetch.version}: staged on {prefetch.staged} of {prefetch.total} "
        f"hosts, kept until {show_time(prefetch.expires_at)}{asked}"
    )


def view_prefetches(prefetches: Sequence[PrefetchView]) -> RenderableType:
    """A line each."""
    if not prefetches:
        return Text("nothing is prefetched")
    table = plain_table("SERVICE", "VERSION", "STAGED", "HOSTS", "UNTIL", "ROLLOUT")
    for each in prefetches:
        table.add_row(
            escape(each.service),
            escape(each.version),
            str(each.staged),
            str(each.total),
            show_time(each.expires_at),
            escape(each.rollout or "-"),
        )
    return table


def view_prefetch(prefetch: PrefetchView) -> RenderableType:
    """One prefetch, with a line for each host."""
    table = plain_table("HOST", "CELL", "STAGED", "REASON")
    for host in prefetch.hosts:
        row = (host.host, host.cell, "yes" if host.staged else "no", host.reason or "-")
        table.add_row(*map(escape, row))
    return Group(Text(prefetch_line(prefetch)), table)
