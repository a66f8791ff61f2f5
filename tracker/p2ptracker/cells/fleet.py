"""What runs where, as people ask for it: pure functions over the cells and the inventory."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import HostName, ServiceName, Version
from p2pdeploy.messages.api import HostView, ServiceView, VersionsView, WhereRow
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.topology import Host
from p2ptracker.cells.replica import CellReplica
from p2ptracker.cells.settled_elsewhere import settled_elsewhere

__all__ = ["FILTER_KEYS", "host_views", "versions_view", "where_rows"]

FILTER_KEYS = (
    "name",
    "address",
    "environment",
    "machine_function",
    "cell",
    "fault_domain",
    "alive",
    "service",
    "version",
    "state",
)


def host_views(
    cells: Iterable[CellReplica],
    *,
    filters: Sequence[str] = (),
    limit: int,
    after: str = "",
    now: float,
    wall_s: float,
    revoked: Container[HostName] = (),
) -> list[HostView]:
    """Hosts in name order, at most *limit*, beginning behind the name *after*.

    Args:
        cells: The whole fleet.
        filters: ``KEY=GLOB`` or a glob on the name; a host must match them all.
        limit: How many.
        after: The last name of the page before.
        now: trio's clock, for who is alive.
        wall_s: Seconds since the epoch, for ages.
        revoked: Hosts that were put out of the fleet.

    Raises:
        RefusedError: a filter has an unknown key.
    """
    parsed = [_parse(text) for text in filters]
    found: list[HostView] = []
    for host, cell, alive in _hosts_after(cells, after, now):
        view = _host_view(host, cell, alive, wall_s, revoked=host.name in revoked)
        if all(_matches(view, key, glob) for key, glob in parsed):
            found.append(view)
            if len(found) == limit:
                break
    return found


def _hosts_after(
    cells: Iterable[CellReplica], after: str, now: float
) -> list[tuple[Host, CellReplica, bool]]:
    rows: list[tuple[Host, CellReplica, bool]] = []
    for cell in cells:
        alive = cell.alive(now)
        rows += [(host, cell, name in alive) for name, host in cell.hosts.items() if name > after]
    return sorted(rows, key=lambda row: row[0].name)


def versions_view(cells: Iterable[CellReplica], service: ServiceName) -> VersionsView:
    """The histogram of one service; hosts that said they run none of it are not counted."""
    versions: dict[str, int] = {}
    unknown = 0
    for cell in cells:
        words = cell.evidence.get(service, {})
        for name in cell.hosts:
            word = words.get(name)
            if word is None:
                unknown += 1
            elif word.version:
                versions[word.version] = versions.get(word.version, 0) + 1
    return VersionsView(service=service, versions=dict(sorted(versions.items())), unknown=unknown)


def where_rows(
    cells: Iterable[CellReplica],
    service: ServiceName,
    version: Version,
    *,
    now: float,
    wall_s: float,
    revoked: Container[HostName] = (),
) -> list[WhereRow]:
    """The hosts whose last word is that they run *version*, in name order.

    The other arguments are those of :func:`host_views`.
    """
    rows = [
        WhereRow(
            host=word.host,
            version=word.version,
            state=word.state,
            age_s=_age(cell, word, wall_s),
            alive=word.host in alive,
            revoked=word.host in revoked,
        )
        for cell, alive in ((cell, cell.alive(now)) for cell in cells)
        for word in cell.evidence.get(service, {}).values()
        if word.version == version and word.host in cell.hosts
    ]
    return sorted(rows, key=lambda row: row.host)


def _host_view(
    host: Host, cell: CellReplica, alive: bool, wall_s: float, *, revoked: bool
) -> HostView:
    words = (of_host.get(host.name) for _, of_host in sorted(cell.evidence.items()))
    limit = cell.rate_limit_of(host.name)
    return HostView(
        name=host.name,
        address=host.address,
        environment=host.environment,
        machine_function=host.machine_function,
        cell=host.cell,
        fault_domain=host.fault_domain,
        alive=alive,
        services=[_service_view(host, cell, word, wall_s) for word in words if word],
        revoked=revoked,
        download_limit_bytes_per_s=limit.download_bytes_per_s,
        upload_limit_bytes_per_s=limit.upload_bytes_per_s,
    )


def _service_view(host: Host, cell: CellReplica, word: Attestation, wall_s: float) -> ServiceView:
    elsewhere = settled_elsewhere(cell.order(f"settled/{word.service}"), host.name, word)
    left = elsewhere.message if elsewhere and word.version else ""  # else it was never meant
    return ServiceView(
        service=word.service,
        version=word.version,
        state=word.state,
        address=f"{host.address}:{word.port}" if word.port else "",
        since=datetime.fromtimestamp(round(word.since, 3), UTC) if word.since else None,
        age_s=_age(cell, word, wall_s),
        reason=word.reason or left,
    )


def _age(cell: CellReplica, word: Attestation, wall_s: float) -> float:
    return round(max(wall_s - cell.seen_at(HostName(word.host), word.service), 0.0), 3)


def _parse(text: str) -> tuple[str, str]:
    key, equals, glob = text.partition("=")
    if not equals:
        return "name", text
    if key not in FILTER_KEYS:
        raise RefusedError(
            f"unknown filter key {key!r}",
            hint=f"use one of {', '.join(FILTER_KEYS)}, or a glob on the host name",
            code="bad-filter",
        )
    return key, glob


def _matches(view: HostView, key: str, glob: str) -> bool:
    if key in ("service", "version", "state"):
        return any(fnmatchcase(getattr(service, key), glob) for service in view.services)
    if key == "alive":
        return glob.lower() in (("true", "yes", "1") if view.alive else ("false", "no", "0"))
    return fnmatchcase(getattr(view, key), glob)
