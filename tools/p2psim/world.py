"""The event heap, the clock and the trace.  Time moves only from one event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from blake3 import blake3

__all__ = ["World"]

EPOCH_S = 1_800_000_000.0  # simulated UTC at time 0; any fixed number will do
EVENTS_MAX = 20_000_000  # a world that never quiets down is a finding, not a hang


class World:
    """Runs callbacks in time order; ties in the order they were scheduled."""

    def __init__(self, *, trace: Callable[[str], None] | None = None) -> None:
        self.now_s = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._hash = blake3()
        self._trace = trace

    @property
    def wall_s(self) -> float:
        """True UTC."""
        return EPOCH_S + self.now_s

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Run *action* at *time_s*, or next if that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(time_s, self.now_s), self._count, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        self.at(self.now_s + delay_s, action)

    def run_until(self, time_s: float, *, stop: Callable[[], bool] | None = None) -> None:
        """Run everything up to *time_s*; *stop* is asked once per simulated second."""
        next_look_s = self.now_s
        while self._heap and self._heap[0][0] <= time_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            self.events += 1
            assert self.events < EVENTS_MAX, "the world does not come to rest"
            action()
            if stop is not None and self.now_s >= next_look_s:
                if stop():
                    return
                next_look_s = self.now_s + 1.0
        self.now_s = time_s

    def note(self, line: str) -> None:
        """Add one line to the trace: it is hashed always and printed on replay."""
        text = f"{self.now_s:9.3f} {line}"
        self._hash.update(text.encode())
        if self._trace is not None:
            self._trace(text)

    def trace_hash(self) -> str:
        """Equal for two runs of one seed, or something is not deterministic."""
        return self._hash.hexdigest(8)
