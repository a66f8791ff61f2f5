"""A rollout as a live tree, in the manner of ``kubectl argo rollouts get rollout -w``.

A line per fault domain, never per host unless asked.  Pure: the present is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.glyphs import FAULT_DOMAIN_ORDER, bar, look, styled
from p2pctl.render.listings import show_bytes, show_time
from p2pctl.render.tables import plain_table
from p2pdeploy.messages.api import FaultDomainView, HostView, Reason, RolloutView

__all__ = ["fault_domain_state", "rollout_line", "view_history", "view_reasons", "view_rollout"]

_REASONS_SHOWN_MAX = 6  # the screen of a live view is for the tree; `rollout why` has the rest


def view_rollout(
    rollout: RolloutView, now: datetime, hosts: Sequence[HostView] | None = None
) -> RenderableType:
    """The header, the tree and the reasons.

    Args:
        rollout: The document.
        now: Aware UTC time, for ages.
        hosts: With these a line per host stands under its fault domain.
    """
    parts: list[RenderableType] = [_header(rollout, now), Text(""), _tree(rollout, now, hosts)]
    shown = rollout.reasons[:_REASONS_SHOWN_MAX]
    if shown:
        parts += [Text(""), *(_reason(reason) for reason in shown)]
    if more := len(rollout.reasons) - len(shown):
        parts.append(Text(f"and {more} more: p2pctl rollout why {rollout.id}", style="dim"))
    return Group(*parts)


def _header(rollout: RolloutView, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    why = f" - {escape(rollout.reasons[0].message)}" if rollout.reasons else ""
    rows = [
        ("Rollout", escape(rollout.id)),
        ("Release", f"[bold]{escape(rollout.service)} {escape(rollout.version)}[/]"),
        ("Goes back to", escape(rollout.baseline) or "nothing installed"),
        ("Status", styled(rollout.state) + why),
        ("Age", _age(rollout.created_at, rollout.finished_at, now)),
    ]
    if rollout.bytes_per_host_max:
        rows.append(("Fetched", f"at most {show_bytes(rollout.bytes_per_host_max)} by any host"))
    if rollout.absent:
        rows.append(("Absent", f"{len(rollout.absent)} hosts were down at the start"))
    for name, value in rows:
        table.add_row(f"{name}:", value)
    return table


def _tree(rollout: RolloutView, now: datetime, hosts: Sequence[HostView] | None) -> RenderableType:
    table = plain_table("NAME", "PROGRESS", "HOSTS", "STATES", "AGE", "WAITS FOR")
    total = sum(domain.total for domain in rollout.fault_domains)
    healthy = sum(domain.healthy for domain in rollout.fault_domains)
    failed = sum(domain.failed for domain in rollout.fault_domains)
    table.add_row(
        styled(rollout.state, f"[bold]{escape(rollout.service)} {escape(rollout.version)}[/]"),
        bar(healthy, failed, total),
        f"{healthy}/{total}",
        "",
        _age(rollout.created_at, rollout.finished_at, now),
        "",
    )
    cells = sorted({domain.cell for domain in rollout.fault_domains})
    for cell in cells:
        last_cell = cell == cells[-1]
        domains = [domain for domain in rollout.fault_domains if domain.cell == cell]
        table.add_row(f"{'└' if last_cell else '├'}─ {escape(cell)}", "", "", "", "", "")
        for domain in domains:
            stem = "   " if last_cell else "│  "
            _add_domain(table, domain, stem, domain is domains[-1], now)
            if hosts is not None:
                inner = stem + ("   " if domain is domains[-1] else "│  ")
                _add_hosts(table, rollout, domain, inner, hosts)
    return table


def _add_domain(
    table: Table, domain: FaultDomainView, stem: str, last: bool, now: datetime
) -> None:
    state = fault_domain_state(domain)
    table.add_row(
        f"{stem}{'└' if last else '├'}─ {styled(state, escape(domain.name))}",
        bar(domain.healthy, domain.failed, domain.total),
        f"{domain.healthy}/{domain.total}",
        _counts(domain),
        _age(domain.started_at, domain.finished_at, now),
        escape(domain.waits_for),
    )


def _add_hosts(
    table: Table,
    rollout: RolloutView,
    domain: FaultDomainView,
    stem: str,
    hosts: Sequence[HostView],
) -> None:
    members = [h for h in hosts if h.cell == domain.cell and h.fault_domain == domain.name]
    for host in members:
        mark = "└" if host is members[-1] else "├"
        found = [s for s in host.services if s.service == rollout.service]
        state = found[0].state if found else "absent"
        version = escape(found[0].version) if found else ""
        why = escape(found[0].reason) if found else ""
        if not host.alive:
            state, why = "down", "not reachable"
        name = f"{stem}{mark}─ {styled(state, escape(host.name))}"
        table.add_row(name, "", "", f"{state} {version}".strip(), "", why)


def fault_domain_state(domain: FaultDomainView) -> str:
    """The one state that stands for a fault domain: its worst, else its least far."""
    states = domain.states
    for worst in ("failed", "rolling-back", "rolled-back"):
        if states.get(worst):
            return worst
    if domain.failed:
        return "failed"
    if domain.total and domain.healthy >= domain.total:
        return "healthy"
    for state in ("baking", "starting", "staged", "fetching"):
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


def _age(start: datetime | None, end: datetime | None, now: datetime) -> str:
    if start is None:
        return "-"
    return show_duration(max(0.0, ((end or now) - start).total_seconds()))


def _reason(reason: Reason) -> Text:
    place = " ".join(part for part in (reason.fault_domain, reason.host) if part)
    head = f"{place}: " if place else ""
    return Text(f"{head}{reason.message} [{reason.code}]")


def rollout_line(rollout: RolloutView, now: datetime | None = None) -> str:
    """One plain line for logs and pipes: state, each fault domain's counts, the first reason."""
    domains = "  ".join(
        f"{domain.name} {look(fault_domain_state(domain)).glyph} {domain.healthy}/{domain.total}"
        + (f" ({domain.failed} failed)" if domain.failed else "")
        for domain in rollout.fault_domains
    )
    age = f"  {_age(rollout.created_at, rollout.finished_at, now)}" if now else ""
    why = f"  - {rollout.reasons[0].message}" if rollout.reasons else ""
    head = f"{rollout.service} {rollout.version} {look(rollout.state).glyph} {rollout.state}"
    return f"{head}{age}  {domains}{why}"


def view_history(rollouts: Sequence[RolloutView], now: datetime) -> RenderableType:
    """Rollouts, a line each."""
    if not rollouts:
        return Text("no rollouts")
    table = plain_table("ID", "VERSION", "STATE", "BEGAN", "AGE", "HOSTS", "REASON")
    for rollout in rollouts:
        healthy = sum(domain.healthy for domain in rollout.fault_domains)
        total = sum(domain.total for domain in rollout.fault_domains)
        table.add_row(
            escape(rollout.id),
            escape(rollout.version),
            styled(rollout.state),
            show_time(rollout.created_at),
            _age(rollout.created_at, rollout.finished_at, now),
            f"{healthy}/{total}",
            escape(rollout.reasons[0].message) if rollout.reasons else "",
        )
    return table


def view_reasons(reasons: Sequence[Reason]) -> RenderableType:
    """Every reason, a line each."""
    return Group(*(_reason(r) for r in reasons)) if reasons else Text("nothing to explain")
