"""Releases, hosts, versions and lint findings as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.documents import LintReport
from p2pctl.durations import show_duration
from p2pctl.rate_option import UNLIMITED_RATE, show_rate
from p2pctl.render.glyphs import styled
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.messages.api import HostView, ReleaseView, ServiceView, VersionsView, WhereRow
from p2pdeploy.messages.signing import DelegationView

__all__ = [
    "show_bytes",
    "show_time",
    "view_delegations",
    "view_hosts",
    "view_lint",
    "view_release",
    "view_releases",
    "view_versions",
    "view_where",
]


def show_bytes(count: int) -> str:
    """*count* in binary units with three digits: ``999 B``, ``1.50 MiB``, ``256 MiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    if unit == "B":
        return f"{count} B"
    return f"{size:.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"


def show_time(moment: datetime | None) -> str:
    """RFC 3339 to the second, or ``-``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "-"


def view_release(release: ReleaseView) -> RenderableType:
    """One release, a line per fact."""
    table = FactTable()
    rows = {
        "release": f"{release.service} {release.version}",
        "manifest digest": release.manifest_digest,
        "info-hash v2": release.info_hash_v2,
        "size": f"{show_bytes(release.size_bytes)} ({release.size_bytes} bytes)",
        "files": str(release.file_count),
        "piece size": show_bytes(release.piece_size_bytes),
        "published": show_time(release.published_at),
        "state": release.state,
        "torrent": release.torrent_path,
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def view_releases(releases: Sequence[ReleaseView]) -> RenderableType:
    """Releases, a line each."""
    if not releases:
        return Text("no releases")
    table = plain_table("VERSION", "PUBLISHED", "SIZE", "FILES", "STATE", "MANIFEST DIGEST")
    for release in releases:
        table.add_row(
            escape(release.version),
            show_time(release.published_at),
            show_bytes(release.size_bytes),
            str(release.file_count),
            release.state,
            release.manifest_digest,
        )
    return table


def view_hosts(hosts: Sequence[HostView]) -> RenderableType:
    """Hosts with their services, a line per service."""
    if not hosts:
        return Text("no hosts match")
    is_limited = any(_limit(host) != UNLIMITED_RATE for host in hosts)
    more = ("LIMIT",) if is_limited else ()  # most fleets have none
    names = ("HOST", "ADDRESS", "CELL", "FAULT DOMAIN", "ALIVE", *more, "SERVICES", "AGE")
    table = plain_table(*names)
    for host in hosts:
        alive = _alive(alive=host.alive, revoked=host.revoked)
        limit = (_limit(host),) if is_limited else ()
        head = (host.name, host.address, host.cell, host.fault_domain, alive, *limit)
        if not host.services:
            table.add_row(*head, "-", "-")
        for number, service in enumerate(host.services):
            lead = head if number == 0 else ("",) * len(head)
            age = "-" if service.age_s is None else show_duration(service.age_s)
            table.add_row(*lead, _service(service, is_old=_is_old(host)), age)
    return table


def _limit(host: HostView) -> str:
    """What it may move: down and up, once if that is the same."""
    down, up = (
        show_rate(rate) for rate in (host.download_limit_bytes_per_s, host.upload_limit_bytes_per_s)
    )
    return down if down == up else f"{down} down, {up} up"


def _alive(*, alive: bool, revoked: bool) -> str:
    if revoked:
        return styled("down", "revoked")
    return styled("alive", "yes") if alive else styled("down", "no")


def _is_old(host: HostView | WhereRow) -> bool:
    """Whether what is known of it is its last word, and may long be otherwise."""
    return host.revoked or not host.alive


def _state(state: str, *, is_old: bool) -> str:
    return f"[dim]{escape(state)} when last heard[/]" if is_old else styled(state)


def _service(service: ServiceView, *, is_old: bool) -> str:
    name = escape(f"{service.service} {service.version}".strip())
    where = f" at {service.address}" if service.address else ""
    why = f" ({escape(service.reason)})" if service.reason else ""
    return f"{name} {_state(service.state, is_old=is_old)}{where}{why}"


def view_versions(versions: VersionsView) -> RenderableType:
    """How many hosts run which version."""
    table = plain_table("VERSION", "HOSTS")
    for version, count in sorted(versions.versions.items()):
        table.add_row(escape(version) or "(none)", str(count))
    table.add_row("[dim]unknown[/]", str(versions.unknown))
    return table


def view_where(rows: Sequence[WhereRow]) -> RenderableType:
    """The hosts that run one version."""
    if not rows:
        return Text("no host runs it")
    table = plain_table("HOST", "VERSION", "ALIVE", "STATE", "AGE")
    for row in rows:
        table.add_row(
            row.host,
            escape(row.version),
            _alive(alive=row.alive, revoked=row.revoked),
            _state(row.state, is_old=_is_old(row)),
            show_duration(row.age_s),
        )
    return table


def view_lint(report: LintReport) -> RenderableType:
    """Every finding as ``file:line: key: message``, then the settings in force."""
    parts: list[RenderableType] = []
    for finding in report.findings:
        line = f":{finding.line}" if finding.line else ""
        key = f"{finding.key}: " if finding.key else ""
        style = "red" if finding.severity == "error" else "yellow"
        head = Text(f"{finding.file}{line}: ", style=style)
        hint = f" ({finding.hint})" if finding.hint else ""
        parts.append(head + Text(f"{key}{finding.message}{hint}", style="default"))
    if report.effective is not None:
        if parts:
            parts.append(Text(""))
        parts.append(Text("settings in force, defaults included:", style="bold"))
        parts.append(_settings(report.effective))
    if report.ok:
        parts.append(Text("no faults", style="green"))
    return Group(*parts)


def _settings(effective: dict[str, Any]) -> RenderableType:
    table = FactTable()
    for section, values in effective.items():
        if not isinstance(values, dict):
            table.add_row(Text(f"  {section}"), Text(_toml(values)))
            continue
        for key, value in values.items():  # pyright: ignore[reportUnknownVariableType]
            table.add_row(Text(f"  {section}.{key}"), Text(_toml(value)))
    return table


def _toml(value: object) -> str:
    import json

    return "(not set)" if value is None else json.dumps(value)


def view_delegations(view: DelegationView) -> RenderableType:
    """The services of the fleet, a line each."""
    table = plain_table("SERVICE", "SIGNATURES NEEDED")
    for service, threshold in sorted(view.services.items()):
        table.add_row(escape(service), str(threshold))
    return table
