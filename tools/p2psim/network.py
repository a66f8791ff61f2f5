"""Which messages arrive, when, and how often.  Partitions cut both directions or one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from p2psim.options import Options
from p2psim.world import World

__all__ = ["Cut", "Network"]

MIN_DELAY_S = 0.0005


class Cut(msgspec.Struct, frozen=True):
    """No message from *sources* to *targets* while it lasts."""

    sources: frozenset[str]
    targets: frozenset[str]


class Network:
    """Delivers callbacks between named places, through the faults of *options*."""

    def __init__(self, world: World, options: Options, rng: Random) -> None:
        self._world = world
        self._options = options
        self._rng = rng
        self._cuts: list[Cut] = []
        self.healed = False
        self.lost = 0
        self.cut_off = 0

    def cut(self, cut: Cut) -> None:
        self._cuts.append(cut)

    def mend(self, cut: Cut) -> None:
        if cut in self._cuts:
            self._cuts.remove(cut)

    @property
    def is_cut(self) -> bool:
        return bool(self._cuts)

    def heal(self) -> None:
        """From now on everything arrives soon, once."""
        self._cuts.clear()
        self.healed = True

    def reaches(self, source: str, target: str) -> bool:
        return not any(source in cut.sources and target in cut.targets for cut in self._cuts)

    def send(
        self, source: str, target: str, arrive: Callable[[], None], *, reliable: bool = False
    ) -> bool:
        """Send one message; *reliable* ones (streams) are not lost or doubled, only cut off.

        Returns:
            False if it can't arrive, as a stream's sender would find out.
        """
        if not self.reaches(source, target):
            self.cut_off += 1
            return False
        if not reliable and not self.healed and self._rng.random() < self._options.loss:
            self.lost += 1
            return False
        copies = 1
        if not reliable and not self.healed and self._rng.random() < self._options.duplicate:
            copies = 2
        for _ in range(copies):
            delay_s = MIN_DELAY_S + self._rng.random() * self._options.delay_max_s
            self._world.after(delay_s, arrive)
        return True
