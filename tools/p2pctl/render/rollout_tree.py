"""The fault domains of a rollout as a tree, as wide and as high as there is room.

In a narrow terminal what a line says of its state and why goes below each other; nothing is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.glyphs import FAULT_DOMAIN_ORDER, bar, styled
from p2pctl.render.tables import PlainTable, plain_table
from p2pdeploy.messages.api import FaultDomainView, RolloutHost, RolloutView

__all__ = ["FittedRollout", "fault_domain_state", "show_took", "tree_rows", "view_rows"]

_ROLLOUT, _CELL, _FAULT_DOMAIN, _HOST = range(4)  # depths of the tree
_TREE_LINES_MIN = 3  # the column names, a line, and that there are more


class Row(NamedTuple):
    """A line of the tree, as markup.  ``is_over``: nothing happens there any more."""

    depth: int
    name: str
    progress: str = ""
    hosts: str = ""
    states: str = ""
    took: str = ""
    why: str = ""
    is_over: bool = False


class FittedRollout:
    """The head and the tree; on a screen that is too low, lines of the tree are left out.

    Those go whose fault domains are over, then those at the end; the head always stays.

    Args:
        head: State and reasons.
        rows: The tree.
        fits_screen: False to draw every line, however many there are.
    """

    def __init__(
        self, head: RenderableType, rows: Sequence[Row], *, fits_screen: bool = False
    ) -> None:
        self._head, self._rows, self._fits_screen = head, rows, fits_screen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = console.render_lines(self._head, options, pad=False)
        room = options.size.height - len(head) if self._fits_screen else None
        yield from _lines_out([*head, *self._tree(console, options, room)])

    def _tree(
        self, console: Console, options: ConsoleOptions, room: int | None
    ) -> list[list[Segment]]:
        def drawn(rows: Sequence[Row]) -> list[list[Segment]]:
            return console.render_lines(view_rows(rows, options.max_width), options, pad=False)

        whole = drawn(self._rows)
        if room is None or len(whole) <= room:
            return whole
        room = max(room, _TREE_LINES_MIN) - 1  # the last line says what was left out
        lines = drawn(_without_over(self._rows, len(whole) - room))[:room]
        more = Text(f"… {len(whole) - len(lines)} more lines", style="dim")
        return [*lines, *console.render_lines(more, options, pad=False)]


def _without_over(rows: Sequence[Row], surplus: int) -> list[Row]:
    """*rows* without the first *surplus* or so of those where nothing happens any more.

    What hangs on a row goes with it.
    """
    kept: list[Row] = []
    left_out, under = 0, 0
    for row in rows:
        goes_along = under > 0 and row.depth > under
        if goes_along or (row.is_over and left_out < surplus):
            left_out += 1
            under = under if goes_along else row.depth
        else:
            kept.append(row)
            under = 0
    return kept


def _lines_out(lines: Sequence[list[Segment]]) -> RenderResult:
    for line in lines:
        yield from line
        yield Segment.line()


def view_rows(rows: Sequence[Row], width: int) -> PlainTable:
    """The tree as a table that fits into *width*, if its names do."""
    wide = plain_table("NAME", "PROGRESS", "HOSTS", "STATES", "TOOK", "WHY")
    for row in rows:
        wide.add_row(row.name, row.progress, row.hosts, row.states, row.took, row.why)
    if wide.width_min <= width:
        return wide
    narrow = plain_table("NAME", "HOSTS", "TOOK", "STATES", wraps=("STATES",))
    for row in rows:
        said = "\n".join(text for text in (row.states, row.why) if text)
        narrow.add_row(row.name, row.hosts, row.took, said)
    return narrow


def tree_rows(
    rollout: RolloutView, now: datetime, hosts: Sequence[RolloutHost] | None
) -> list[Row]:
    """The rollout, its cells, their fault domains, and *hosts* of these if there are any.

    Without *hosts* those that failed stand there, where their fault domain has no namesake.
    """
    rows = [_total(rollout, now)]
    cells = sorted({domain.cell for domain in rollout.fault_domains})
    for cell in cells:
        last_cell = cell == cells[-1]
        domains = [domain for domain in rollout.fault_domains if domain.cell == cell]
        rows.append(Row(_CELL, f"{'└' if last_cell else '├'}─ {escape(cell)}"))
        for domain in domains:
            stem, last = "   " if last_cell else "│  ", domain is domains[-1]
            rows.append(_domain(domain, f"{stem}{'└' if last else '├'}─", now))
            inner = stem + ("   " if last else "│  ")
            rows += _hosts(rollout, domain, inner, hosts)
    return rows


def _total(rollout: RolloutView, now: datetime) -> Row:
    total = sum(domain.total for domain in rollout.fault_domains)
    healthy = sum(domain.healthy for domain in rollout.fault_domains)
    failed = sum(domain.failed for domain in rollout.fault_domains)
    return Row(
        _ROLLOUT,
        styled(rollout.state, f"[bold]{escape(rollout.service)} {escape(rollout.version)}[/]"),
        bar(healthy, failed, total),
        f"{healthy}/{total}",
        took=show_took(rollout.created_at, rollout.finished_at, now),
    )


def _domain(domain: FaultDomainView, branch: str, now: datetime) -> Row:
    return Row(
        _FAULT_DOMAIN,
        f"{branch} {styled(fault_domain_state(domain), escape(domain.name))}",
        bar(domain.healthy, domain.failed, domain.total),
        f"{domain.healthy}/{domain.total}",
        _counts(domain),
        show_took(domain.started_at, domain.finished_at, now),
        escape(domain.waits_for),
        is_over=domain.finished_at is not None and not domain.failed,
    )


def _hosts(
    rollout: RolloutView,
    domain: FaultDomainView,
    stem: str,
    hosts: Sequence[RolloutHost] | None,
) -> list[Row]:
    if hosts is None:
        shown = _failed_rows(rollout, domain)
    else:
        shown = [
            (h, _state(h), h.reason if h.alive else "not reachable")
            for h in hosts
            if (h.cell, h.fault_domain) == (domain.cell, domain.name)
        ]
        shown = [(_host_name(h), state, why, _is_over(h)) for h, state, why in shown]
    return [
        Row(
            _HOST,
            f"{stem}{'├' if number < len(shown) else '└'}─ {name}",
            states=state,
            why=escape(why),
            is_over=over,
        )
        for number, (name, state, why, over) in enumerate(shown, 1)
    ]


def _failed_rows(rollout: RolloutView, domain: FaultDomainView) -> list[tuple[str, str, str, bool]]:
    if len([d for d in rollout.fault_domains if d.name == domain.name]) > 1:
        return []  # a reason names no cell
    return [
        (
            styled("failed", escape(reason.host)),
            "failed",
            "" if reason in rollout.reasons else reason.message,  # the head has it
            False,
        )
        for reason in rollout.failures
        if reason.fault_domain == domain.name
    ]


def _host_name(host: RolloutHost) -> str:
    return styled(host.state if host.alive else "down", escape(host.host))


def _state(host: RolloutHost) -> str:
    runs = f", runs {escape(host.version)}" if host.version else ""
    return f"{escape(host.state)}{runs}"


def _is_over(host: RolloutHost) -> bool:
    return host.alive and host.state in ("healthy", "unchanged", "moved-on") and not host.reason


def fault_domain_state(domain: FaultDomainView) -> str:
    """The one state that stands for a fault domain: its worst, else its least far."""
    states = domain.states
    for worst in ("failed", "rolling-back", "rolled-back", "disk-full"):
        if states.get(worst):
            return worst
    if domain.failed:
        return "failed"
    if domain.total and domain.healthy >= domain.total:
        return "healthy"
    for state in ("baking", "starting", "staged", "fetching", "unchanged"):
        if states.get(state):
            return state
    return "starting" if domain.started_at and not domain.finished_at else "waiting"


def _counts(domain: FaultDomainView) -> str:
    known = [state for state in FAULT_DOMAIN_ORDER if domain.states.get(state)]
    others = sorted(set(domain.states) - set(FAULT_DOMAIN_ORDER))
    return "  ".join(
        styled(state, f"{domain.states[state]} {state}")
        for state in [*known, *others]
        if domain.states[state]
    )


def show_took(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """How long it took, or has taken until *now*; ``-`` before it began."""
    if start is None:
        return "-"
    return show_duration(max(0.0, ((end or now) - start).total_seconds()))
