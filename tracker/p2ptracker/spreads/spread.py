"""How one release spreads under one rollout (pure): the figures, the stragglers and the curve.

All times are seconds since the epoch.  Hosts' words are believed for what they are: figures.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.swarm import (
    SOURCES,
    STRAGGLERS_SHOWN_MAX,
    FetchProgress,
    SourceBytes,
    SpreadView,
    Straggler,
    SwarmView,
)
from p2pdeploy.swarm.rate_meter import RateMeter
from p2pdeploy.swarm.stragglers import HostStanding, stragglers_of
from p2ptracker.spreads.curve import STEP_S, Curve
from p2ptracker.spreads.measured_limit import measured_limit_s
from p2ptracker.spreads.terms import Spreading, SpreadRecord
from p2ptracker.spreads.trail import Trail

__all__ = ["Spread"]

RECEIVED_FACTOR_MAX = 4  # of the release, by one way: more is no honest word
WORDS_S = 10.0  # by then every host that fetches has spoken again, so the curve is drawn
HOSTS_PER_STEP_S = 5_000  # sorting this many shares takes some milliseconds
ORIGIN_WINDOW_S = 8.0  # its goodput is put together from words of many hosts, seconds apart


class _Host:
    """One host: its newest word, and when it began and ended."""

    __slots__ = ("ended_at", "heard_at", "progress", "trail")

    def __init__(self) -> None:
        self.progress: FetchProgress | None = None
        self.heard_at = 0.0
        self.ended_at: float | None = None
        self.trail: Trail | None = None


class Spread:
    """One rollout's release on its hosts.

    Args:
        spreading: As the rollout stands now.
        began_at: When its hosts were let fetch; everything counts from here.
        size_bytes: Of the release.
        piece_size_bytes: As well.
        record: Of an earlier process, to go on from.
    """

    def __init__(
        self,
        spreading: Spreading,
        *,
        began_at: float,
        size_bytes: int,
        piece_size_bytes: int,
        record: SpreadRecord | None = None,
    ) -> None:
        self._facts = spreading
        self._began_at = began_at
        self._size_bytes = size_bytes
        self._piece_count = max(1, -(-size_bytes // piece_size_bytes))
        self._hosts = {name: _Host() for name in spreading.hosts}
        step_s = max(STEP_S, len(self._hosts) / HOSTS_PER_STEP_S)
        self._curve = Curve(record.view.points if record else (), step_s)
        self._before = record.view.swarm.received if record else SourceBytes()
        self._origin = RateMeter(piece_size_bytes, ORIGIN_WINDOW_S)
        self._origin.peak_bytes_per_s = record.origin_peak_bytes_per_s if record else 0
        self._origin_bytes = 0

    def __repr__(self) -> str:
        return f"<Spread {self._facts.rollout} {self._complete_count()}/{len(self._hosts)} hosts>"

    @property
    def digest(self) -> Digest:
        return self._facts.digest

    @property
    def is_complete(self) -> bool:
        """Whether every host has the release, and the curve tells so."""
        points = self._curve.points
        all_here = self._complete_count() == len(self._hosts)
        return all_here and bool(points) and points[-1].least >= 1

    def hear(self, cell: CellId, host: HostName, progress: FetchProgress, now: float) -> None:
        """Take in a host's own word; one that knows less than an earlier one changes nothing.

        A daemon that was restarted has forgotten what it fetched.
        """
        facts, known = self._facts.hosts.get(host), self._hosts.get(host)
        if known is None or facts is None or facts.cell != cell:
            return
        received = progress.received.at_most(RECEIVED_FACTOR_MAX * self._size_bytes)
        progress = msgspec.structs.replace(progress, received=received)
        before = known.progress
        if before is not None and progress.received.network < before.received.network:
            return
        if known.trail is None:
            known.trail = Trail(now - progress.began_ago_s, progress.received.local)
        known.progress, known.heard_at = progress, now
        if progress.ended_ago_s is not None:
            known.ended_at = now - progress.ended_ago_s
        known.trail.note(known.ended_at or now, min(progress.have_bytes, self._size_bytes))
        if before is not None:  # a first word may tell of minutes: that is no rate
            self._origin_bytes += progress.received.origin - before.received.origin
            self._origin.note(now, self._origin_bytes)

    def look(self, spreading: Spreading, now: float) -> bool:
        """Take in how the rollout stands now, and draw the curve on; whether it grew."""
        self._facts = spreading
        for name, facts in spreading.hosts.items():
            host = self._hosts.get(name)
            if host is not None and facts.staged and host.ended_at is None:
                host.ended_at = now
                if host.trail is not None:
                    host.trail.note(now, self._size_bytes)
        elapsed_s = now - self._began_at
        all_here = self._complete_count() == len(self._hosts)
        last_s = self._last_ended_s() if all_here else elapsed_s - WORDS_S
        return self._draw_until(last_s, whole=all_here)

    def _draw_until(self, last_s: float, *, whole: bool) -> bool:
        grew = False
        while self._curve.next_at_s <= last_s:
            at_s = self._curve.next_at_s
            self._curve.add(at_s, self._shares(self._began_at + at_s))
            grew = True
        points = self._curve.points
        if whole and (not points or points[-1].least < 1):
            self._curve.add(max(last_s, points[-1].at_s if points else 0.0), [1.0])
            grew = True
        return grew

    def _shares(self, at: float) -> list[float]:
        return [self._share(host, at) for host in self._hosts.values()] or [1.0]

    def _share(self, host: _Host, at: float) -> float:
        if host.ended_at is not None and at >= host.ended_at:
            return 1.0
        if host.trail is None or not self._size_bytes:
            return 0.0
        return host.trail.have_bytes(at) / self._size_bytes

    def _complete_count(self) -> int:
        return sum(host.ended_at is not None for host in self._hosts.values())

    def _last_ended_s(self) -> float:
        ended = [host.ended_at for host in self._hosts.values() if host.ended_at is not None]
        return max(0.0, max(ended, default=0.0) - self._began_at)

    # -- what it shows ---------------------------------------------------------------------------

    def record(self, now: float) -> SpreadRecord:
        """What is stored, and shown once the rollout is over."""
        return SpreadRecord(
            view=SpreadView(
                rollout=self._facts.rollout,
                service=self._facts.service,
                version=self._facts.version,
                began_at=datetime.fromtimestamp(round(self._began_at, 3), UTC),
                swarm=self.swarm(now),
                points=self._curve.points,
            ),
            origin_peak_bytes_per_s=self._origin.peak_bytes_per_s,
        )

    def swarm(self, now: float) -> SwarmView:
        """The figures as of *now*."""
        behind = self.stragglers(now)
        coverage = self._coverage(now)
        limit = self._limit_s()
        ended = sorted(
            host.ended_at - self._began_at
            for host in self._hosts.values()
            if host.ended_at is not None
        )
        half = (len(self._hosts) - 1) // 2
        p50_s = ended[half] if len(ended) > half else None
        last_s = ended[-1] if ended and len(ended) == len(self._hosts) else None
        needed_s = limit * coverage if limit is not None and last_s is None else None
        return SwarmView(
            size_bytes=self._size_bytes,
            hosts=len(self._hosts),
            hosts_complete=len(ended),
            coverage=round(coverage, 5),
            received=self._received(),
            limit_s=_rounded(limit),
            p50_s=_rounded(p50_s),
            last_s=_rounded(last_s),
            p50_x=_ratio(p50_s, limit),
            last_x=_ratio(last_s, limit),
            so_far_x=_ratio(now - self._began_at, needed_s),
            stragglers=behind[:STRAGGLERS_SHOWN_MAX],
            stragglers_more=max(0, len(behind) - STRAGGLERS_SHOWN_MAX),
        )

    def stragglers(self, now: float) -> list[Straggler]:
        """All of them, the worst first."""
        return stragglers_of([self._standing(name, now) for name in self._hosts])

    def _standing(self, name: HostName, now: float) -> HostStanding:
        host, facts = self._hosts[name], self._facts.hosts[name]
        return HostStanding(
            host=name,
            coverage=self._share(host, now),
            complete=host.ended_at is not None,
            alive=facts.alive,
            progress=host.progress,
            heard_ago_s=now - host.heard_at if host.progress else None,
            reason_code=facts.reason_code,
        )

    def _coverage(self, now: float) -> float:
        shares = self._shares(now)
        points = self._curve.points
        return max(sum(shares) / len(shares), points[-1].coverage if points else 0.0)

    def _received(self) -> SourceBytes:
        """Over all hosts; what an earlier process knew already stands until it is told again."""
        total = SourceBytes()
        for host in self._hosts.values():
            if host.progress is not None:
                total += host.progress.received
            elif host.ended_at is not None:  # it never fetched: it had the release
                total += SourceBytes(local=self._size_bytes)
        return SourceBytes(
            **{name: max(getattr(total, name), getattr(self._before, name)) for name in SOURCES}
        )

    def _limit_s(self) -> float | None:
        return measured_limit_s(
            [host.progress for host in self._hosts.values() if host.progress is not None],
            # Who has it and said nothing never fetched.
            silent=sum(
                host.progress is None and host.ended_at is None for host in self._hosts.values()
            ),
            origin_bytes_per_s=self._origin.peak_bytes_per_s,
            size_bytes=self._size_bytes,
            piece_count=self._piece_count,
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _ratio(seconds: float | None, limit: float | None) -> float | None:
    return round(seconds / limit, 3) if seconds is not None and limit else None
