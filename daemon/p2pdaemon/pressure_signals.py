"""What Linux tells of the pressure on this host, as differences between two looks (shell).

A kernel without PSI, or a container that hides it, gives fewer signals; which ones are missing is
known after the first look.  Everything here is some files of ``/proc``, read in a fifth of a
millisecond.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from p2pdeploy.swarm.pressure import PressureSample

__all__ = ["PressureSignals"]

_PSI_LINES = ("some", "full")
_WRITES, _WRITING_MS = 7, 10  # columns of diskstats: writes completed, and the time they took


class _Counters(NamedTuple):
    """Everything that only rises; what is not there is missing."""

    at: float  # monotonic seconds
    stalled_us: dict[str, int]  # by "cpu_some" and so on
    cpu: tuple[float, float, float] | None  # of all processors: busy, all; ours: seconds
    writes: tuple[int, int] | None  # how many, and the milliseconds they took


class PressureSignals:
    """Looks at this host.

    Args:
        folder: Lies on the disk whose latency counts.
        proc: Where the kernel's files are.
    """

    def __init__(self, folder: Path, proc: Path = Path("/proc")) -> None:
        self._folder, self._proc = folder, proc
        self._before: _Counters | None = None
        self.missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<PressureSignals without {', '.join(self.missing) or 'nothing'}>"

    def sample(self) -> PressureSample | None:
        """The time since the last look; None at the first one.  Blocking, shortly."""
        now, before = self._count(), self._before
        self._before = now
        self.missing = _missing(now)
        if before is None or now.at <= before.at:
            return None
        return _difference(before, now)

    def forget(self) -> None:
        """The next look is a first one: what lies between is not of interest."""
        self._before = None

    def _count(self) -> _Counters:
        return _Counters(
            at=time.monotonic(),
            stalled_us=self._psi(),
            cpu=self._cpu(),
            writes=self._writes(),
        )

    def _psi(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in ("cpu", "io", "memory"):
            for line in self._read(f"pressure/{name}").splitlines():
                kind, _, total = line.partition(" ")[0], *line.rpartition("total=")[1:]
                if kind in _PSI_LINES and total.isdecimal():
                    found[f"{name}_{kind}"] = int(total)
        return found

    def _cpu(self) -> tuple[float, float, float] | None:
        fields = self._read("stat").partition("\n")[0].split()[1:9]
        if len(fields) < 8 or not all(field.isdecimal() for field in fields):
            return None
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
        idle_s = ticks[3] + ticks[4]  # idle, and idle while a disk is waited for
        return sum(ticks) - idle_s, sum(ticks), time.process_time()

    def _writes(self) -> tuple[int, int] | None:
        try:
            device = os.stat(self._folder).st_dev
        except OSError:
            return None
        wanted = [str(os.major(device)), str(os.minor(device))]
        for line in self._read("diskstats").splitlines():
            fields = line.split()
            if fields[:2] == wanted and len(fields) > _WRITING_MS:
                return int(fields[_WRITES]), int(fields[_WRITING_MS])
        return None

    def _read(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:  # not in this kernel, hidden, or switched off (EOPNOTSUPP)
            return ""


def _missing(counters: _Counters) -> tuple[str, ...]:
    known = {
        "psi": bool(counters.stalled_us),
        "cpu": counters.cpu is not None,
        "disk": counters.writes is not None,
    }
    return tuple(name for name, is_known in known.items() if not is_known)


def _difference(before: _Counters, now: _Counters) -> PressureSample:
    elapsed_us = (now.at - before.at) * 1e6
    stalled = {
        name: min((total - before.stalled_us[name]) / elapsed_us, 1.0)
        for name, total in now.stalled_us.items()
        if name in before.stalled_us and name != "cpu_full"  # of a whole host it says nothing
    }
    busy, others = _processors(before, now)
    return PressureSample(
        **stalled, cpu_busy=busy, cpu_others=others, write_latency_s=_latency_s(before, now)
    )


def _processors(before: _Counters, now: _Counters) -> tuple[float | None, float | None]:
    if before.cpu is None or now.cpu is None:
        return None, None
    busy, whole, ours = (new - old for new, old in zip(now.cpu, before.cpu, strict=True))
    if whole <= 0:
        return None, None
    return busy / whole, max(busy - ours, 0.0) / whole


def _latency_s(before: _Counters, now: _Counters) -> float | None:
    if before.writes is None or now.writes is None:
        return None
    count, took_ms = (new - old for new, old in zip(now.writes, before.writes, strict=True))
    return took_ms / count / 1000 if count > 0 else 0.0
