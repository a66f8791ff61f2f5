"""Offers of delegates that are held until there is something to answer (messages/sync.py).

An order ends the waiting of its cell at once.  What other delegates brought ends it after a while
only: gossip has carried it already, unless the cell is parted.

One held offer is one connection; how many there may be keeps room for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import trio
from prometheus_client import Gauge

from p2pdeploy.gossip.anti_entropy import DELEGATES
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.sync import SyncOffer
from p2ptracker.cells.news import News

__all__ = ["HELD_MAX", "WORDS_AFTER_S", "HeldOffers"]

HELD_MAX = 2_048  # half of the connections that hosts may have (api/tls.py): 512 cells
# Hosts that see different members name different delegates, for a while.
OF_CELL_MAX = 2 * DELEGATES
WORDS_AFTER_S = 2.0  # a rollout brings words by the dozen each second


class HeldOffers:
    """Who waits now, of the whole fleet.  *gauge* shows how many."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._hosts: set[HostName] = set()
        self._of_cell: Counter[CellId] = Counter()

    def __repr__(self) -> str:
        return f"<HeldOffers {len(self._hosts)} of {len(self._of_cell)} cells>"

    def __len__(self) -> int:
        return len(self._hosts)

    async def hold(self, news: News, offer: SyncOffer) -> bool:
        """Wait while there is no *news* for *offer*, as long as it allows.

        Returns:
            False when it was not held: it has seen less, cannot wait, or there is no room.  Then
            nothing changed meanwhile.
        """
        if not offer.wait_s or offer.seen != news.revision or not self._has_room(offer):
            return False
        count, words_at = news.count, trio.current_time() + WORDS_AFTER_S
        woken = trio.Event()

        def hear() -> None:
            if news.revision != offer.seen or trio.current_time() >= words_at:
                woken.set()

        with self._counted(offer), news.told_to(hear), trio.move_on_after(offer.wait_s):
            with trio.move_on_at(words_at):
                await woken.wait()
            if news.count == count:
                await woken.wait()
        return True

    def _has_room(self, offer: SyncOffer) -> bool:
        return (
            offer.host not in self._hosts
            and len(self._hosts) < HELD_MAX
            and self._of_cell[offer.cell] < OF_CELL_MAX
        )

    @contextmanager
    def _counted(self, offer: SyncOffer) -> Generator[None]:
        self._hosts.add(offer.host)
        self._of_cell[offer.cell] += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._hosts.discard(offer.host)
            self._of_cell[offer.cell] -= 1
            self._gauge.dec()
            if not self._of_cell[offer.cell]:
                del self._of_cell[offer.cell]
