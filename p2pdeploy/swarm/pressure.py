"""How hard the work of others on this host is waiting: one number out of what Linux tells (pure).

The number is 0 on a host at ease and 1 where somebody certainly suffers; more is worse.  Between
``calm`` and ``high`` of a signal it rises evenly, and the worst signal decides.

What we cause ourselves is no reason to yield: waiting for processors counts by the share that other
processes have in their use, else a host whose only work is the fetch would slow it down.

PSI: https://docs.kernel.org/accounting/psi.html, disk latency:
https://docs.kernel.org/admin-guide/iostats.html.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["PressureSample", "pressure_of"]


class PressureSample(msgspec.Struct, frozen=True, kw_only=True):
    """The time since the last sample, as shares of it; None: this kernel or container won't tell.

    ``*_some``: somebody waited; ``*_full``: nobody could go on.  ``cpu_busy`` and ``cpu_others``:
    of all processors' time, what was used, and what processes other than ours used.
    ``write_latency_s``: what one write to the disk of our state took on the average.
    """

    cpu_some: float | None = None
    io_some: float | None = None
    io_full: float | None = None
    memory_some: float | None = None
    memory_full: float | None = None
    cpu_busy: float | None = None
    cpu_others: float | None = None
    write_latency_s: float | None = None


class _Signal(NamedTuple):
    """Below *calm* nobody minds, from *high* on somebody suffers."""

    calm: float
    high: float

    def level(self, value: float | None) -> float:
        if value is None or value <= self.calm:
            return 0.0
        return (value - self.calm) / (self.high - self.calm)


# A third of the time is an ordinary queue at the scheduler; at two thirds most requests wait.
_CPU_SOME = _Signal(0.33, 0.66)
# Without PSI: from 95 % on there is hardly a free slot left for who wakes up.
_CPU_OTHERS = _Signal(0.75, 0.95)
# Writeback stalls somebody on every busy disk; everybody at once is what a service notices.
_IO_SOME = _Signal(0.40, 0.80)
_IO_FULL = _Signal(0.20, 0.50)
# Waiting for memory means thrashing already: far lower than the others.
_MEMORY_SOME = _Signal(0.05, 0.20)
_MEMORY_FULL = _Signal(0.02, 0.10)
# An SSD answers within 1 ms and a hard disk within 20; at a quarter second its queue is long.
_WRITE_LATENCY_S = _Signal(0.05, 0.25)


def pressure_of(sample: PressureSample) -> float:
    """The worst of all signals in *sample*; 0 when there are none.  Rises with each of them."""
    return max(
        _CPU_SOME.level(_waiting_for_others(sample)),
        _CPU_OTHERS.level(sample.cpu_others),
        _IO_SOME.level(sample.io_some),
        _IO_FULL.level(sample.io_full),
        _MEMORY_SOME.level(sample.memory_some),
        _MEMORY_FULL.level(sample.memory_full),
        _WRITE_LATENCY_S.level(sample.write_latency_s),
    )


def _waiting_for_others(sample: PressureSample) -> float | None:
    """``cpu_some`` by the share of others in the processors' use; whole when that is not known."""
    some, busy, others = sample.cpu_some, sample.cpu_busy, sample.cpu_others
    if some is None or busy is None or others is None or busy <= 0:
        return some
    return some * min(others / busy, 1.0)
