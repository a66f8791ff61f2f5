"""Who serves while a fleet changes: asks every host again and again, from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.integration.fleet import Fleet, Served

__all__ = ["Monitor", "watch_service"]

_EVERY_S = 0.05
# A sample that took longer shows its first and its last host at different moments: bake and settle
# of the tests' rollouts lie between one fault domain's return and the next one's stop.
_MOMENT_S = 0.4
_JOIN_TIMEOUT_S = 60.0  # one sample of every host, each of which may time out
Sample = dict[str, Served | None]


class Monitor:
    """Samples of one service on every host, oldest first."""

    def __init__(self, fleet: Fleet, service: str) -> None:
        self._fleet, self._service = fleet, service
        self._stop = threading.Event()
        self.fault_domain_of = {n: h["fault_domain"] for n, h in fleet.hosts().items()}
        self.samples: list[Sample] = []
        self._moments: list[Sample] = []

    def sample(self) -> Sample:
        """Ask every host once."""
        began = time.monotonic()
        sample = self._fleet.all_serve(self._service)
        self.samples.append(sample)
        if time.monotonic() - began < _MOMENT_S:
            self._moments.append(sample)
        return sample

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stop.wait(_EVERY_S):
            self.sample()

    def stop(self) -> None:
        self._stop.set()

    def down_at_once_max(self) -> int:
        """The most hosts that did not serve in one sample."""
        return max(sum(word is None for word in sample.values()) for sample in self._moments)

    def down_together(self) -> set[frozenset[str]]:
        """Every set of fault domains that had a host down in one sample."""
        return {
            frozenset(self.fault_domain_of[host] for host, word in sample.items() if word is None)
            for sample in self._moments
        }

    def versions(self, host: str) -> list[str]:
        """The versions a host served, without repetitions in a row."""
        seen = [word.version for sample in self.samples if (word := sample[host])]
        return [v for n, v in enumerate(seen) if n == 0 or seen[n - 1] != v]

    def pids(self, host: str) -> set[int]:
        """Every process that served on a host."""
        return {word.pid for sample in self.samples if (word := sample[host])}

    def was_never_down(self, host: str) -> bool:
        """Whether a host served in every sample."""
        return all(sample[host] is not None for sample in self.samples)


@contextmanager
def watch_service(fleet: Fleet, service: str) -> Generator[Monitor]:
    """Watch while the block runs; every host must serve when it begins."""
    monitor = Monitor(fleet, service)
    first = monitor.sample()
    assert all(first.values()), f"not every host serves {service} yet: {first}"
    thread = threading.Thread(target=monitor.run, name="monitor")
    thread.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        thread.join(_JOIN_TIMEOUT_S)
        assert not thread.is_alive(), "the monitor hangs"
