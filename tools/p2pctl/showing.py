"""A rollout on the screen while it goes on: a live tree, plain lines, or a document a line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

from p2pctl.client import ApiClient
from p2pctl.output import Output, print_json, stdout_console
from p2pctl.render.rollout import rollout_line, view_rollout
from p2pctl.watching import follow, is_final
from p2pdeploy.messages.api import RolloutHost, RolloutView
from p2pdeploy.printable import printable

__all__ = ["RolloutScreen", "show_live"]

_REDRAWS_PER_S = 4  # as often as we look


def show_live(api: ApiClient, rollout_id: str, output: Output, *, with_hosts: bool) -> None:
    """Show the rollout until it is final; the last state stays on the screen."""
    console = stdout_console()
    if output.is_json:
        _show_changes(api, rollout_id, show=print_json, look=_whole)
    elif not console.is_terminal:
        _show_changes(api, rollout_id, show=_print_line, look=rollout_line)
    else:
        with Live(console=console, refresh_per_second=_REDRAWS_PER_S) as live:
            for view in follow(api, rollout_id):
                hosts = api.rollout_hosts(view.id) if with_hosts else None
                live.update(_fitted(view, hosts))


def _show_changes(
    api: ApiClient,
    rollout_id: str,
    *,
    show: Callable[[RolloutView], None],
    look: Callable[[RolloutView], object],
) -> None:
    """Show the rollout each time that *look* of it, which leaves out its age, has changed."""
    last: object = None
    for view in follow(api, rollout_id):
        if (now := look(view)) != last:
            show(view)
        last = now


def _whole(view: RolloutView) -> RolloutView:
    return view


def _print_line(view: RolloutView) -> None:
    sys.stdout.write(printable(rollout_line(view, datetime.now(UTC))) + "\n")
    sys.stdout.flush()


def _fitted(view: RolloutView, hosts: Sequence[RolloutHost] | None = None) -> RenderableType:
    """What a live screen has room for; the last state stays whole, and may roll out of it."""
    return view_rollout(view, datetime.now(UTC), hosts, fits_screen=not is_final(view))


class RolloutScreen:
    """Shows one rollout after the other on *console*: a live tree, or a line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._last_line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def show(self, view: RolloutView) -> None:
        """Show *view*; the last state of a rollout stays on the screen."""
        if not self._console.is_terminal:
            line = rollout_line(view)
            if line != self._last_line:
                self._console.print(line, markup=False)
            self._last_line = line
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=_REDRAWS_PER_S)
            self._live.start()
        self._live.update(_fitted(view))
        if is_final(view):
            self._end()

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
