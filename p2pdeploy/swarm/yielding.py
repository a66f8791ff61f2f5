"""How far a host's own traffic makes room for others: additive increase, multiplicative decrease.

A *ceiling* is a rate that pressure set; without pressure there is none.  Under pressure it begins
at what is moving now and shrinks each second; in the band between calm and pressure it stands
still, so that it does not swing; when all is calm it grows, and goes after ``RECOVERY_S`` at the
latest.  Pure; one value per direction, given a look about once a second.
"""

from __future__ import annotations

import msgspec

__all__ = ["FLOOR_BYTES_PER_S", "RECOVERY_S", "Ceiling", "adapted"]

# Yielding never goes below: 10 GB still arrive within three hours, and a neighbour that waits for
# 16 blocks of 16 KiB beside 24 others gets them within libtorrent's request_timeout of 20 s.
FLOOR_BYTES_PER_S = 1024 * 1024
assert 24 * 16 * 16 * 1024 / FLOOR_BYTES_PER_S < 20

RECOVERY_S = 30.0  # of calm in a row; somebody who looks after a burst finds the host at full speed
_PRESSED = 1.0  # pressure_of: somebody suffers
_CALM = 0.5  # half-way there; between the two nothing changes
_SMOOTHING = 0.5  # of the newest sample: one burst of a second is half forgotten in the next
_DECREASE = 0.7  # a second: from 1 GB/s to the floor in 20 s
_DECREASE_HARD = 0.5  # when it is twice as bad
_INCREASE = 1.25  # a second: from the floor to 800 MB/s in RECOVERY_S
_ELAPSED_S_MAX = 2.0  # a look that comes late stands for no more than this


class Ceiling(msgspec.Struct, frozen=True):
    """What pressure allows now; ``rate_bytes_per_s`` None: everything.

    ``pressure`` is smoothed; ``calm_s``: for how long it has been calm.
    """

    rate_bytes_per_s: int | None = None
    pressure: float = 0.0
    calm_s: float = 0.0


def adapted(
    before: Ceiling,
    pressure: float,
    *,
    used_bytes_per_s: int,
    limit_bytes_per_s: int | None,
    elapsed_s: float,
) -> Ceiling:
    """The ceiling after another look.

    Args:
        before: The last one.
        pressure: Since then, of :func:`~p2pdeploy.swarm.pressure.pressure_of`.
        used_bytes_per_s: What moved since then.
        limit_bytes_per_s: What is configured; a ceiling at or above it is none.
        elapsed_s: Since the last look.
    """
    smoothed = before.pressure + (pressure - before.pressure) * _SMOOTHING
    if smoothed >= _PRESSED:
        rate = _lowered(before, smoothed, used_bytes_per_s, limit_bytes_per_s)
        return Ceiling(rate, smoothed)
    if smoothed > _CALM:
        return Ceiling(before.rate_bytes_per_s, smoothed)
    calm_s = before.calm_s + min(elapsed_s, _ELAPSED_S_MAX)
    return Ceiling(_raised(before, calm_s, limit_bytes_per_s), smoothed, calm_s)


def _lowered(before: Ceiling, pressure: float, used: int, limit: int | None) -> int | None:
    known = [rate for rate in (before.rate_bytes_per_s, limit) if rate is not None]
    base = min([max(used, FLOOR_BYTES_PER_S), *known])
    factor = _DECREASE_HARD if pressure >= 2 * _PRESSED else _DECREASE
    return _unless_limit(max(int(base * factor), FLOOR_BYTES_PER_S), limit)


def _raised(before: Ceiling, calm_s: float, limit: int | None) -> int | None:
    if before.rate_bytes_per_s is None or calm_s >= RECOVERY_S:
        return None
    return _unless_limit(int(before.rate_bytes_per_s * _INCREASE), limit)


def _unless_limit(rate: int, limit: int | None) -> int | None:
    return None if limit is not None and rate >= limit else rate
