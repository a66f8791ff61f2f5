"""Tell the dealer what is seeded here, so that it does not send those bytes to the cell again.

The dealer's memory is soft: a control plane that restarts has forgotten who holds what, and asks
nobody.  A host that fetches tells it anyway; a host that only seeds has to be told to do so.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from p2pdaemon.log import get_logger
from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.swarm import Members
from p2pdeploy.swarm.dealer_client import DealerClient, ReleaseKey, tell_completed
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["SeedTeller"]

SPREAD_S = 2.0  # a whole cell notices at once that the control plane is back
RETRY_FIRST_S = 2.0
RETRY_MAX_S = 60.0  # it only saves bytes; a control plane in trouble has more urgent calls

_log = get_logger("seeds")


class SeedTeller:
    """Says once after each :meth:`tell_again` which releases this host has whole.

    Args:
        seeds: What is fetched and seeded; only what is complete is told.
        dealer: The way to the origin.
        cell: Of this host.
        host: This host.
        members: Where each address of the cell is, for the figures.
        rng: Spreads the calls of many hosts.
    """

    def __init__(
        self,
        seeds: Callable[[], dict[Digest, Torrent]],
        dealer: DealerClient,
        cell: CellId,
        host: HostName,
        members: Callable[[], Members],
        rng: random.Random,
    ) -> None:
        self._seeds = seeds
        self._dealer = dealer
        self._cell = cell
        self._host = host
        self._members = members
        self._rng = rng
        self._asked = trio.Event()

    def tell_again(self) -> None:
        """The control plane may have forgotten, or there is more to tell; never waits."""
        self._asked.set()

    async def tell_dealer(self) -> None:
        """Tell whenever asked to, for ever; a dealer that is down is tried again."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            await trio.sleep(SPREAD_S * self._rng.random())
            await self._tell_until_heard()

    async def _tell_until_heard(self) -> None:
        told: set[Digest] = set()
        retry_s = RETRY_FIRST_S
        while not await self._tell_all(told):
            await trio.sleep(retry_s * self._rng.uniform(0.75, 1.0))
            retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _tell_all(self, told: set[Digest]) -> bool:
        """Tell what is not in *told* yet; False when the dealer could not be reached."""
        for digest, torrent in self._seeds().items():
            if digest in told or not torrent.complete:
                continue
            key = ReleaseKey(cell=self._cell, manifest_digest=digest, host=self._host)
            try:
                await tell_completed(torrent, self._dealer, key, self._members)
            except UnavailableError:
                return False
            except P2PDeployError as error:  # not published any more, say: nothing to be saved
                _log.info("seed not told", digest=digest, code=error.code)
            told.add(digest)
        return True
