"""Which hosts are behind the others, and why (pure).

The cause is told by measurements of the host itself, in this order:

* ``disk``: its disk is full or fails; or writing a piece takes a second; or most of its peers wait
  until it has written.
* ``control``: it has not begun, has fallen silent or is not reachable.
* ``source``: none of its neighbours has what it lacks, or none lets it have it.
* ``link``: neighbours are willing, and its goodput is far below that of the others.
* ``control`` again: its goodput is like the others', it began later.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.swarm import FetchProgress, Straggler, StragglerCause

__all__ = ["HostStanding", "counts_by_cause", "stragglers_of"]

BEHIND_SHARE = 0.1  # of the release, behind the median host; less evens out by itself
STORE_SLOW_S = 1.0  # the largest piece, 16 MiB, takes a healthy disk a tenth of that
SILENT_S = 20.0  # hosts that fetch speak every few seconds
RATE_SHARE = 0.5  # below half of the median goodput a link counts as slow
DISK_CODES = frozenset({"disk-full", "disk-error"})


class HostStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host.  Ages in seconds; ``heard_ago_s`` is None before its first word.

    ``reason_code`` is what keeps it from staging, by its own word to its cell.
    """

    host: HostName
    coverage: float
    complete: bool
    alive: bool
    progress: FetchProgress | None = None
    heard_ago_s: float | None = None
    reason_code: str = ""

    @property
    def goodput_bytes_per_s(self) -> float | None:
        """Over its whole fetch; None when there was none."""
        progress = self.progress
        if progress is None:
            return None
        took_s = progress.began_ago_s - (progress.ended_ago_s or 0.0)
        return progress.received.network / took_s if took_s > 0 else None


def stragglers_of(standings: Sequence[HostStanding]) -> list[Straggler]:
    """The hosts that are behind, the worst first; empty while all go on alike.

    Args:
        standings: Every host of one rollout.
    """
    if not standings:
        return []
    median = statistics.median(standing.coverage for standing in standings)
    behind = [
        standing
        for standing in standings
        if not standing.complete and (median >= 1 or standing.coverage < median - BEHIND_SHARE)
    ]
    rates = [rate for s in standings if (rate := s.goodput_bytes_per_s) is not None]
    usual = statistics.median(rates) if rates else 0.0
    found = [_straggler(standing, usual) for standing in behind]
    return sorted(found, key=lambda straggler: (straggler.coverage, straggler.host))


def _straggler(standing: HostStanding, usual_bytes_per_s: float) -> Straggler:
    cause, message = _cause(standing, usual_bytes_per_s)
    return Straggler(
        host=standing.host,
        cause=cause,
        coverage=round(standing.coverage, 4),
        message=message,
    )


def _cause(standing: HostStanding, usual_bytes_per_s: float) -> tuple[StragglerCause, str]:
    progress = standing.progress
    if standing.reason_code in DISK_CODES:
        what = "is full" if standing.reason_code == "disk-full" else "fails"
        return "disk", f"its disk {what}"
    if not standing.alive:
        return "control", "it is not reachable"
    if progress is None:
        return "control", "it has not begun to fetch"
    for told in (
        _by_silence(standing),
        _by_disk(progress),
        _by_source(progress),
        _by_link(standing, usual_bytes_per_s),
    ):
        if told is not None:
            return told
    return "control", f"as fast as the others, but it began only {progress.began_ago_s:.0f} s ago"


Told = tuple[StragglerCause, str] | None


def _by_silence(standing: HostStanding) -> Told:
    if standing.heard_ago_s is None or standing.heard_ago_s <= SILENT_S:
        return None
    return "control", f"not heard for {standing.heard_ago_s:.0f} s"


def _by_disk(progress: FetchProgress) -> Told:
    if progress.store_s >= STORE_SLOW_S:
        return "disk", f"writing a piece takes {progress.store_s:.1f} s"
    if progress.peers_disk_bound * 2 > progress.peers > 0:
        waiting = f"{progress.peers_disk_bound} of {progress.peers} peers"
        return "disk", f"{waiting} wait until it has written"
    return None


def _by_source(progress: FetchProgress) -> Told:
    if not progress.lacking_pieces:
        return None
    if not progress.peers:
        return "source", "it is connected to nobody"
    if not progress.offered_pieces:
        lacking = f"{progress.lacking_pieces} pieces that it lacks"
        return "source", f"no neighbour has any of the {lacking}"
    if not progress.peers_willing:
        return "source", f"none of its {progress.peers} peers lets it download"
    return None


def _by_link(standing: HostStanding, usual_bytes_per_s: float) -> Told:
    rate = standing.goodput_bytes_per_s
    if rate is None or rate >= usual_bytes_per_s * RATE_SHARE:
        return None
    return "link", f"{_mbit(rate)} Mbit/s, where others have {_mbit(usual_bytes_per_s)}"


def _mbit(bytes_per_s: float) -> str:
    return f"{bytes_per_s * 8 / 1e6:.3g}"


def counts_by_cause(found: Iterable[Straggler]) -> dict[StragglerCause, int]:
    """How many stragglers each cause has, those without any included."""
    counts: dict[StragglerCause, int] = {"disk": 0, "link": 0, "source": 0, "control": 0}
    for straggler in found:
        counts[straggler.cause] += 1
    return counts
