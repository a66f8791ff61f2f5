"""Every spread that is under way: heard, looked at, stored and shown (shell).

What is stored is at most ``STORE_EVERY_S`` old; a kill loses no more of a curve than that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import NotFoundError, ProtocolError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.deal import DealRequest
from p2pdeploy.messages.swarm import SpreadView, SwarmView
from p2pdeploy.swarm.stragglers import counts_by_cause
from p2ptracker.spreads.spread import Spread
from p2ptracker.spreads.terms import Spreading, SpreadRecord
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.releases import manifest_row
from p2ptracker.storage.spreads import find_spread, save_spreads

__all__ = ["SpreadRecorder"]

log = structlog.get_logger(__name__)

STORE_EVERY_S = 5.0
RECORD_BYTES_MAX = 1024 * 1024  # 512 points, 16 stragglers: a tenth of it
# A rollout that is seen this soon after it was accepted was let begin at once; others waited for
# signatures, and nothing could spread before.
AT_ONCE_S = 5.0
X_BUCKETS = (1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0)


class SpreadRecorder:
    """Records how releases spread.

    Args:
        database: Where curves and figures are kept.
        clock: Seconds since the epoch.
        metrics: Where the figures are registered.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float], metrics: CollectorRegistry
    ) -> None:
        self._database, self._clock = database, clock
        self._open: dict[RolloutId, Spread] = {}
        self._told: set[RolloutId] = set()  # complete ones whose multiple was counted
        self._unsaved: set[RolloutId] = set()
        self._stored_at = 0.0
        self._x_of_limit = Histogram(
            "p2p_swarm_x_of_limit",
            "Time until the hosts of a rollout had its release, over the limit",
            ["hosts"],
            buckets=X_BUCKETS,
            registry=metrics,
        )
        self._stragglers = Gauge(
            "p2p_swarm_stragglers",
            "Hosts behind the others with a release, by cause",
            ["cause"],
            registry=metrics,
        )

    def __repr__(self) -> str:
        return f"<SpreadRecorder {len(self._open)} under way>"

    def hear(self, request: DealRequest) -> None:
        """Take in what a host says of its fetch; the caller has made sure that it is that host."""
        if request.progress is None:
            return
        for spread in self._open.values():
            if spread.digest == request.manifest_digest:
                spread.hear(request.cell, request.host, request.progress, self._clock())

    def is_complete(self, rollout: RolloutId) -> bool:
        """Whether every host of a rollout under way has its release, and all of it is drawn."""
        spread = self._open.get(rollout)
        return spread is not None and spread.is_complete

    async def look(self, under_way: Sequence[Spreading], complete: Collection[RolloutId]) -> None:
        """Take in every rollout that is under way, draw the curves on, and store what is due.

        Args:
            under_way: Those whose release still spreads.
            complete: Those that are under way and complete.

        Raises:
            UnavailableError: the database; nothing is forgotten, it is stored next time.
        """
        now = self._clock()
        for spreading in under_way:
            if spreading.rollout not in self._open:
                await self._begin(spreading, now)
            spread = self._open[spreading.rollout]
            if spread.look(spreading, now):
                self._unsaved.add(spreading.rollout)
            self._note_complete(spreading.rollout, spread, now)
        over = self._open.keys() - {spreading.rollout for spreading in under_way} - set(complete)
        self._unsaved |= over
        self._count_stragglers(now)
        if over or now - self._stored_at >= STORE_EVERY_S:
            await self._store(now)
        for rollout in over:
            del self._open[rollout]
            self._told.discard(rollout)

    def view(self, rollout: RolloutId) -> SwarmView | None:
        """The figures of a rollout that is under way; None for others."""
        spread = self._open.get(rollout)
        return spread.swarm(self._clock()) if spread is not None else None

    async def find(self, rollout: RolloutId) -> SpreadView:
        """The figures and the curve of any rollout.

        Raises:
            NotFoundError: nothing was recorded: it began before this was, or waits for signatures.
        """
        spread = self._open.get(rollout)
        if spread is not None:
            return spread.record(self._clock()).view
        record = await self._find_record(rollout)
        if record is None:
            raise NotFoundError(
                f"nothing was recorded of how {rollout} spread",
                hint="it may still wait for signatures, or be older than this record",
                code="no-spread",
            )
        return record.view

    async def _find_record(self, rollout: RolloutId) -> SpreadRecord | None:
        data = await self._database.read(lambda connection: find_spread(connection, rollout))
        if data is None:
            return None
        try:
            return decode(data, SpreadRecord, bytes_max=RECORD_BYTES_MAX)
        except ProtocolError as error:  # figures are no reason to fail a rollout's page
            log.warning("spread-not-readable", rollout=rollout, reason=str(error))
            return None

    async def _begin(self, spreading: Spreading, now: float) -> None:
        release = await self._database.read(lambda c: manifest_row(c, spreading.digest))
        record = await self._find_record(spreading.rollout)
        at_once = now - spreading.created_at <= AT_ONCE_S
        began_at = spreading.created_at if at_once else now
        if record is not None:
            began_at = record.view.began_at.timestamp()
        self._open[spreading.rollout] = Spread(
            spreading,
            began_at=began_at,
            size_bytes=release.size_bytes,
            piece_size_bytes=release.piece_size_bytes,
            record=record,
        )
        self._unsaved.add(spreading.rollout)

    def _note_complete(self, rollout: RolloutId, spread: Spread, now: float) -> None:
        if not spread.is_complete or rollout in self._told:
            return
        self._told.add(rollout)
        self._unsaved.add(rollout)
        swarm = spread.swarm(now)
        log.info("spread-complete", rollout=rollout, last_s=swarm.last_s, last_x=swarm.last_x)
        for hosts, ratio in (("median", swarm.p50_x), ("last", swarm.last_x)):
            if ratio is not None:
                self._x_of_limit.labels(hosts=hosts).observe(ratio)

    def _count_stragglers(self, now: float) -> None:
        spreading = [spread for spread in self._open.values() if not spread.is_complete]
        behind = [straggler for spread in spreading for straggler in spread.stragglers(now)]
        for cause, count in counts_by_cause(behind).items():
            self._stragglers.labels(cause=cause).set(count)

    async def _store(self, now: float) -> None:
        unsaved = set(self._unsaved)
        documents = {
            rollout: encode(self._open[rollout].record(now))
            for rollout in unsaved
            if rollout in self._open
        }
        await self._database.write(lambda connection: save_spreads(connection, documents))
        self._unsaved -= unsaved
        self._stored_at = now
