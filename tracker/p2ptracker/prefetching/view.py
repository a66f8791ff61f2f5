"""How far the hosts of a cell are with what they prefetch, by what they attest.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Prefetch, Prefetched
from p2pdeploy.messages.prefetch import PrefetchHost, PrefetchView
from p2ptracker.cells.replica import CellReplica
from p2ptracker.prefetching.asked import live

__all__ = ["prefetches_in", "view_of"]


def prefetches_in(replica: CellReplica, now: float) -> Iterator[tuple[Prefetch, Prefetched]]:
    """Everything that the cell prefetches at *now*, by service."""
    for service in sorted(replica.services()):
        held = replica.order(f"prefetch/{service}")
        if isinstance(held, Prefetch):
            yield from ((held, each) for each in live(held, now))


def view_of(
    asked: Sequence[tuple[CellReplica, Prefetch, Prefetched]], *, with_hosts: bool
) -> PrefetchView:
    """One build in all its cells."""
    _, order, first = asked[0]
    rows = [row for replica, order, each in asked for row in _hosts(replica, order, each)]
    return PrefetchView(
        service=order.service,
        version=first.build.version,
        manifest_digest=first.build.digest,
        expires_at=datetime.fromtimestamp(max(each.not_after for _, _, each in asked), UTC),
        rollout=next((each.rollout_id for _, _, each in asked if each.rollout_id), ""),
        cells=sorted(replica.cell for replica, _, _ in asked),
        total=len(rows),
        staged=sum(row.staged for row in rows),
        hosts=tuple(rows) if with_hosts else (),
    )


def _hosts(replica: CellReplica, order: Prefetch, each: Prefetched) -> Iterator[PrefetchHost]:
    words = replica.evidence.get(order.service, {})
    for name in each.hosts or replica.hosts:
        yield _host(replica, name, words.get(name), each)


def _host(
    replica: CellReplica, name: HostName, word: Attestation | None, each: Prefetched
) -> PrefetchHost:
    digest = each.build.digest
    staged = word is not None and (digest in word.prefetched or word.digest == digest)
    trouble = word if word is not None and not staged else None
    return PrefetchHost(
        host=name,
        cell=replica.cell,
        staged=staged,
        reason_code=trouble.reason_code if trouble else "",
        reason=trouble.reason if trouble else "",
    )
