"""Which rate limits hold for which cell and host, of all that are set.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.messages.limits import LimitKind, LimitRequest, LimitScope, LimitTarget
from p2pdeploy.messages.rates import UNLIMITED, RateLimit, RateLimits
from p2pdeploy.topology import Host
from p2ptracker.storage.rate_limits import StoredLimit

__all__ = [
    "LimitKey",
    "Limits",
    "group_of",
    "key_of",
    "limits_of_cell",
    "limits_of_host",
    "require_direction",
]


class LimitKey(msgspec.Struct, frozen=True, order=True):
    """Which limit: no two are set for one."""

    scope: LimitScope
    name: str
    kind: LimitKind


Limits = Mapping[LimitKey, StoredLimit]


def group_of(host: Host) -> str:
    """The name of a host's environment and machine function, as limits have it."""
    return f"{host.environment}/{host.machine_function}"


def key_of(target: LimitTarget, inventory: Iterable[Host]) -> LimitKey:
    """Which limit *target* means.

    Raises:
        RefusedError: it names nothing, more than one thing, or what the inventory does not have.
    """
    by_label = bool(target.environment or target.machine_function)
    if [bool(target.host), bool(target.cell), by_label].count(True) != 1:
        raise _unclear("name one of: a host, a cell, an environment with a machine function")
    if by_label and not (target.environment and target.machine_function):
        raise _unclear("an environment and a machine function go together")
    if target.host:
        if target.each_host:
            raise _unclear("one host is limited by itself anyway")
        return _known(LimitKey("host", target.host, "each-host"), (h.name for h in inventory))
    kind: LimitKind = "each-host" if target.each_host else "uplink"
    if target.cell:
        return _known(LimitKey("cell", target.cell, kind), (host.cell for host in inventory))
    name = f"{target.environment}/{target.machine_function}"
    return _known(LimitKey("environment", name, kind), map(group_of, inventory))


def require_direction(key: LimitKey, request: LimitRequest) -> None:
    """Raise RefusedError when *request* limits what cannot be: what leaves a cell."""
    if key.kind == "uplink" and request.upload_bytes_per_s is not None:
        raise RefusedError(
            "what leaves a cell is not limited, only what enters it",
            hint="limit the upload of each of its hosts",
            code="no-such-limit",
        )


def _known(key: LimitKey, names: Iterable[str]) -> LimitKey:
    if key.name not in set(names):
        raise RefusedError(
            f"no host is, or is in, {key.scope} {key.name!r}",
            where=key.name,
            hint="see 'p2pctl hosts'",
            code="unknown-target",
        )
    return key


def _unclear(message: str) -> RefusedError:
    return RefusedError(message, hint="--host H, --cell C, or --env E --mf M", code="no-target")


def limits_of_cell(limits: Limits, cell: CellId, hosts: Sequence[Host]) -> RateLimits:
    """What *cell* is told; its number is not decided here.

    *hosts*: those of the cell that may have a limit of their own, and one at least.
    """
    group = group_of(hosts[0])
    own = {host.name: limits.get(LimitKey("host", host.name, "each-host")) for host in hosts}
    return RateLimits(
        cell=cell,
        limits_seq=0,
        uplink=_first(limits, cell, group, "uplink"),
        each_host=_first(limits, cell, group, "each-host"),
        hosts={name: _as_told(limit) for name, limit in sorted(own.items()) if limit is not None},
    )


def limits_of_host(limits: Limits, host: Host) -> list[StoredLimit]:
    """All that concern *host*, of each kind first the one that counts."""
    group = group_of(host)
    keys = (
        LimitKey("host", host.name, "each-host"),
        LimitKey("cell", host.cell, "each-host"),
        LimitKey("environment", group, "each-host"),
        LimitKey("cell", host.cell, "uplink"),
        LimitKey("environment", group, "uplink"),
    )
    return [limits[key] for key in keys if key in limits]


def _first(limits: Limits, cell: CellId, group: str, kind: LimitKind) -> RateLimit:
    """The cell's own before its environment's."""
    own = limits.get(LimitKey("cell", cell, kind))
    found = own if own is not None else limits.get(LimitKey("environment", group, kind))
    return UNLIMITED if found is None else _as_told(found)


def _as_told(limit: StoredLimit) -> RateLimit:
    return RateLimit(
        download_bytes_per_s=limit.download_bytes_per_s,
        upload_bytes_per_s=limit.upload_bytes_per_s,
    )
