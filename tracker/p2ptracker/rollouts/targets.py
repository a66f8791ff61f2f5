"""From a rollout request to its hosts, limits and baseline: what the planner asks for.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, HostName, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Build, Settled
from p2pdeploy.payload.service_spec import ServiceSpec
from p2pdeploy.planning.planner import Limits
from p2pdeploy.topology import Host

__all__ = ["Baseline", "baseline_of", "hosts_by_cell", "limits_of", "refuse_one_too_many"]


class Target(Protocol):
    """Hosts by their labels or by their names."""

    @property
    def environment(self) -> str: ...
    @property
    def machine_function(self) -> str: ...
    @property
    def hosts(self) -> tuple[HostName, ...]: ...


def hosts_by_cell(request: Target, inventory: Sequence[Host]) -> dict[CellId, tuple[Host, ...]]:
    """The target hosts of each cell, in name order.

    Raises:
        RefusedError: no target is named, both kinds are, a host is unknown, or none matches.
    """
    by_labels = bool(request.environment or request.machine_function)
    if by_labels == bool(request.hosts):
        raise RefusedError(
            "name a target: an environment and a machine function, or a list of hosts",
            hint="--env E --mf M, or --targets FILE",
            code="no-target",
        )
    chosen = _named(request.hosts, inventory) if request.hosts else _labelled(request, inventory)
    if not chosen:
        raise RefusedError(
            f"no host is {request.machine_function!r} in environment {request.environment!r}",
            hint="see 'p2pctl hosts'",
            code="empty-target",
        )
    cells: dict[CellId, list[Host]] = {}
    for host in sorted(chosen, key=lambda host: host.name):
        cells.setdefault(host.cell, []).append(host)
    return {cell: tuple(hosts) for cell, hosts in sorted(cells.items())}


def _labelled(request: Target, inventory: Sequence[Host]) -> list[Host]:
    if not (request.environment and request.machine_function):
        raise RefusedError(
            "an environment and a machine function go together",
            hint="--env E --mf M",
            code="no-target",
        )
    wanted = (request.environment, request.machine_function)
    return [host for host in inventory if (host.environment, host.machine_function) == wanted]


def _named(names: Sequence[HostName], inventory: Sequence[Host]) -> list[Host]:
    known = {host.name: host for host in inventory}
    missing = sorted({name for name in names if name not in known})
    if missing:
        raise RefusedError(
            f"unknown hosts: {', '.join(missing[:5])}" + (" ..." if len(missing) > 5 else ""),
            where=missing[0],
            hint="see 'p2pctl hosts'",
            code="unknown-host",
        )
    return [known[name] for name in sorted(set(names))]


def refuse_one_too_many(
    service: ServiceName, known: AbstractSet[ServiceName], cell: CellId
) -> None:
    """Raise RefusedError when *cell* has no room for another service's name.

    Its hosts attest every service that they hear of, and a name is never forgotten.
    """
    if service not in known and len(known) >= SERVICES_PER_HOST_MAX:
        raise RefusedError(
            f"{cell} knows {len(known)} services already, and has no room for {service!r}",
            hint=f"a cell takes {SERVICES_PER_HOST_MAX} names in its life: use one of those",
            code="too-many-services",
        )


def limits_of(request: RolloutRequest, spec: ServiceSpec, *, settle_s: float) -> Limits:
    """The limits in force: what was asked for, else the defaults; the larger bake counts."""
    return Limits(
        failure_fraction_max=request.failure_fraction_max,
        max_unavailable=request.max_unavailable,
        bake_s=max(request.bake_s or 0.0, spec.activation.bake_s),
        settle_s=settle_s if request.settle_s is None else request.settle_s,
        stop_timeout_s=spec.run.stop_timeout_s,
        start_timeout_s=spec.health.start_timeout_s,
    )


class Baseline(msgspec.Struct, frozen=True):
    """What the targets go back to: ``build`` (None: nothing), but for the ``bare`` ones.

    ``settled_hosts`` is whom a settlement of the same build concerns; empty: the whole cell.
    """

    build: Build | None
    bare: tuple[HostName, ...] = ()
    settled_hosts: tuple[HostName, ...] = ()


def baseline_of(
    settled: Settled | None, words: Mapping[HostName, Attestation], hosts: Sequence[Host]
) -> Baseline:
    """What settled for all of *hosts*, else what most of them run.

    A host that runs nothing, and for which nothing settled, goes back to nothing.
    """
    names = {host.name for host in hosts}
    covered = _covered(settled, names)
    running = {name: word for name, word in sorted(words.items()) if name in names and word.digest}
    if settled is not None and covered == names:
        build, bare = settled.build, frozenset[HostName]()
    else:
        builds = Counter(Build(version=w.version, digest=w.digest) for w in running.values())
        build = builds.most_common(1)[0][0] if builds else None
        bare = names - covered - running.keys() if build else frozenset[HostName]()
    goes_on = settled is not None and settled.build == build
    return Baseline(
        build=build,
        bare=tuple(sorted(bare)),
        settled_hosts=settled.hosts if settled is not None and goes_on else (),
    )


def _covered(settled: Settled | None, names: AbstractSet[HostName]) -> AbstractSet[HostName]:
    """The hosts of *names* for which a build settled."""
    if settled is None:
        return frozenset()
    concerned = names & set(settled.hosts) if settled.hosts else names
    return concerned - set(settled.bare)
