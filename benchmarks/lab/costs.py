"""What processes cost, those that were killed meanwhile included."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["Costs"]


class Costs:
    """Processor time and memory of the processes that are told to it."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._ended_cpu_s = 0.0
        self._ended_rss_mib = 0.0

    def begin(self, process: subprocess.Popen[bytes]) -> None:
        """Count *process* from its start."""
        self._running.add(process.pid)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Read it for the last time; to be called before it is killed."""
        if process.pid in self._running:
            self._running.remove(process.pid)
            self._ended_cpu_s += _cpu_s(process.pid)
            self._ended_rss_mib = max(self._ended_rss_mib, _peak_rss_mib(process.pid))

    def cpu_s(self) -> float:
        """User and system time of all of them."""
        return self._ended_cpu_s + sum(map(_cpu_s, self._running))

    def rss_mib_max(self) -> float:
        """The most that any of them ever had in memory."""
        return max([self._ended_rss_mib, *map(_peak_rss_mib, self._running)])


def _cpu_s(pid: int) -> float:
    """User and system time of a process, its threads and its ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _peak_rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has ended by itself")
