"""The daemon process of one simulated host: it runs, is paused, dies and is started again."""

from __future__ import annotations

from collections.abc import Callable

from p2psim.world import World

__all__ = ["Life"]


class Life:
    """What was put off in one life of the daemon is never done in another."""

    def __init__(self, world: World) -> None:
        self.up = False
        self.number = 0  # rises with every start and every death
        self._world = world
        self._paused_until_s = 0.0
        self._backlog: list[Callable[[], None]] = []  # what came in during a pause

    def begin(self) -> None:
        self.number += 1
        self.up = True

    def end(self) -> None:
        """Whatever was put off is lost; the supervisor starts a new process, which runs."""
        self.number += 1
        self.up = False
        self._backlog.clear()
        self._paused_until_s = 0.0

    def pause(self, duration_s: float) -> None:
        """SIGSTOP: nothing is handled until it ends, then everything that waited."""
        self._paused_until_s = max(self._paused_until_s, self._world.now_s + duration_s)
        self._world.after(duration_s, self._resume_if_due)

    def _resume_if_due(self) -> None:
        if self._world.now_s >= self._paused_until_s:
            self.resume()

    def resume(self) -> None:
        """SIGCONT: what waited is handled now, in order."""
        self._paused_until_s = 0.0
        backlog, self._backlog = self._backlog, []
        for action in backlog:
            action()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run *action* in this life of the daemon; a paused one gets it when it resumes."""
        number = self.number

        def run() -> None:
            if number != self.number or not self.up:
                return
            if self._world.now_s < self._paused_until_s:
                self._backlog.append(run)
            else:
                action()

        self._world.after(delay_s, run)
