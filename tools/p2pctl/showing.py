"""A rollout on the screen while it goes on: a live tree, plain lines, or a document a line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

from rich.live import Live

from p2pctl.client import ApiClient
from p2pctl.output import Output, print_json, stdout_console
from p2pctl.render.rollout import rollout_line, view_rollout
from p2pctl.watching import follow
from p2pdeploy.messages.api import HostView, RolloutView

__all__ = ["hosts_of", "show_live"]

_REDRAWS_PER_S = 4  # as often as we look
_HOSTS_PER_PAGE = 1_000  # a cell is at most that large


def show_live(api: ApiClient, rollout_id: str, output: Output, *, with_hosts: bool) -> None:
    """Show the rollout until it is final; the last state stays on the screen."""
    console = stdout_console()
    if output.is_json:
        _show_changes(api, rollout_id, print_json)
    elif not console.is_terminal:
        _show_changes(api, rollout_id, _print_line)
    else:
        with Live(console=console, refresh_per_second=_REDRAWS_PER_S) as live:
            for view in follow(api, rollout_id):
                hosts = hosts_of(api, view) if with_hosts else None
                live.update(view_rollout(view, datetime.now(UTC), hosts))


def _show_changes(api: ApiClient, rollout_id: str, show: Callable[[RolloutView], None]) -> None:
    last: RolloutView | None = None
    for view in follow(api, rollout_id):
        if view != last:
            show(view)
        last = view


def _print_line(view: RolloutView) -> None:
    sys.stdout.write(rollout_line(view, datetime.now(UTC)) + "\n")
    sys.stdout.flush()


def hosts_of(api: ApiClient, rollout: RolloutView) -> list[HostView]:
    """The hosts of the rollout's cells."""
    found: list[HostView] = []
    for cell in sorted({domain.cell for domain in rollout.fault_domains}):
        found += api.hosts(filters=(f"cell={cell}",), limit=_HOSTS_PER_PAGE)
    return found
