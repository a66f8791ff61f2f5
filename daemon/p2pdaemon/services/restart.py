"""Whether and when to start a service again that ended by itself, as a pure core.

The delay doubles with each quick end and starts over after a run that lasted.  A crash loop is
reported, not given up: the delays go on, since what a service waits for may come back.
"""

from __future__ import annotations

import msgspec

__all__ = ["CrashLoop", "Effect", "Event", "Exited", "Restart", "RestartPolicy"]

DELAY_FIRST_S = 0.5  # a crash by chance is hardly an outage
DELAY_MAX_S = 30.0  # what a host in trouble costs its neighbours: two starts a minute
LASTED_S = 60.0  # a run of this length was no failed start
LOOP_EXITS = 5  # with the delays above, a program that ends at once needs 7.5 s for it
LOOP_WINDOW_S = 60.0


class Exited(msgspec.Struct, frozen=True):
    """The service ended without being asked to; it had run for *runtime_s*."""

    runtime_s: float


class Restart(msgspec.Struct, frozen=True):
    """Start it again after *delay_s*."""

    delay_s: float


class CrashLoop(msgspec.Struct, frozen=True):
    """Report that it ended *exits* times within *window_s*; follows every further quick end."""

    exits: int
    window_s: float


Event = Exited
Effect = Restart | CrashLoop


class RestartPolicy:
    """The policy of one service and one version; a new version gets a new one."""

    def __init__(self) -> None:
        self._delay_s = DELAY_FIRST_S
        self._exits_at: list[float] = []  # the last LOOP_EXITS of them

    def __repr__(self) -> str:
        return f"<RestartPolicy next delay {self._delay_s} s, {len(self._exits_at)} exits>"

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Decide about one exit.

        Args:
            event: What happened.
            now: Seconds on a clock that never goes back, the same one for all calls.

        Returns:
            CrashLoop first, if it is one, then always one Restart.
        """
        if event.runtime_s >= LASTED_S:
            self._delay_s = DELAY_FIRST_S
        self._exits_at = [*self._exits_at, now][-LOOP_EXITS:]
        effects: list[Effect] = []
        if len(self._exits_at) == LOOP_EXITS and now - self._exits_at[0] <= LOOP_WINDOW_S:
            effects.append(CrashLoop(exits=LOOP_EXITS, window_s=now - self._exits_at[0]))
        effects.append(Restart(delay_s=self._delay_s))
        self._delay_s = min(self._delay_s * 2, DELAY_MAX_S)
        return effects
