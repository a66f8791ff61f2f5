"""Ground truth of one host's services: what really runs, and how each build behaves."""

from __future__ import annotations

from random import Random

import msgspec

from p2pdeploy.ids import Digest
from p2pdeploy.messages.orders import Build

__all__ = ["Behaviour", "Outcome", "ProcessTable"]

STOP_S = (0.1, 1.5)
START_S = (0.2, 3.0)
SLOW_START_S = (4.0, 7.5)  # below the start timeout of the worlds


class Behaviour(msgspec.Struct, frozen=True):
    """``kind`` is good, exits, never-healthy or dies-in-bake."""

    kind: str
    start_timeout_s: float


class Outcome(msgspec.Struct, frozen=True):
    """How one start of a build goes: after how long it is healthy, or fails and why."""

    healthy_after_s: float
    failed_after_s: float | None
    code: str


class ProcessTable:
    """What runs on one host, per service.  Survives the daemon, not the host."""

    def __init__(
        self, behaviours: dict[Digest, Behaviour], rng: Random, *, failures: float, slow: bool
    ) -> None:
        self._behaviours = behaviours
        self._rng = rng
        self._failures = failures
        self._start_s = SLOW_START_S if slow else START_S
        self.running: dict[str, Build] = {}

    def stop_s(self) -> float:
        return self._rng.uniform(*STOP_S)

    def start(self, build: Build, bake_s: float) -> Outcome:
        """Draw how starting *build* goes; the caller lets the time pass."""
        behaviour = self._behaviours[build.digest]
        ready_s = self._rng.uniform(*self._start_s)
        kind = behaviour.kind
        if kind == "good" and bake_s > 0 and self._rng.random() < self._failures:
            kind = "exits"
        if kind == "exits":
            return Outcome(ready_s, self._rng.uniform(0.1, 1.0), "exited")
        if kind == "never-healthy":
            return Outcome(ready_s, behaviour.start_timeout_s, "start-timeout")
        if kind == "dies-in-bake" and bake_s > 0:
            return Outcome(ready_s, ready_s + bake_s / 2, "died-in-bake")
        return Outcome(ready_s, None, "")
