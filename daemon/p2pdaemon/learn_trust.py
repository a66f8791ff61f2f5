"""Learn whom to believe: by gossip as soon as a member knows, and by asking once a minute.

What was learnt is kept in the identity folder: a daemon that starts while it is cut off refuses
whom it refused before.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from p2pdaemon.control import ControlPlane
from p2pdaemon.log import get_logger
from p2pdaemon.refused import Refused
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.effects import ItemMerged, Notice
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.ids import CellId
from p2pdeploy.messages.enrolment import CellTrust
from p2pdeploy.trust.cell_keys import KEYS_ASKED_EVERY_S, CellKeys
from p2pdeploy.trust.host_identity import (
    load_revocations,
    save_cell_keys,
    save_revocations,
)
from p2pdeploy.trust.revocations import Revocations

__all__ = ["TrustLearner"]

T = TypeVar("T")

ASKED_EVERY_S_MIN = 5.0  # whatever the control plane says: 500 hosts are 100 a second then
_EARLY = 0.75  # a cell's hosts don't ask at the same moment, and none later than a minute

_log = get_logger("trust")
_files = trio.CapacityLimiter(1)


class TrustLearner:
    """Keeps gossip and everybody else informed.

    Args:
        cell: Ours.
        folder: The identity's.
        control: Asked once a minute.
        gossip: Hears of it from the cell; takes the cell's keys.
        refused: Takes revocations.
        changed: Called when *refused* took some; never waits.
        learn_orders: Learns who signs orders, given the version of the document that says so.
        rng: Spreads the asking.
    """

    def __init__(
        self,
        cell: CellId,
        folder: Path,
        control: ControlPlane,
        gossip: GossipShell,
        refused: Refused,
        changed: Callable[[], None],
        learn_orders: Callable[[int], Awaitable[None]],
        rng: random.Random,
    ) -> None:
        self._cell, self._folder = cell, folder
        self._control, self._gossip = control, gossip
        self._refused, self._changed, self._rng = refused, changed, rng
        self._learn_orders = learn_orders
        self._every_s = KEYS_ASKED_EVERY_S
        self._kept_revocations = b""  # on disk, as is the next
        self._kept_cell_keys: CellKeys | None = None

    def restore(self) -> None:
        """Take what was learnt before the daemon stopped; what is damaged is asked for anew."""
        envelope = load_revocations(self._folder)
        if envelope:
            try:
                self._gossip.publish(envelope)
            except P2PDeployError as error:
                _log.warning("kept revocations are not usable", reason=str(error))

    def hear(self, effect: Notice) -> None:
        """Take a word of the cell; called by gossip, which has verified it, and never waits."""
        if isinstance(effect, ItemMerged) and isinstance(effect.message, Revocations):
            self._take(effect.message)

    def _take(self, word: Revocations) -> None:
        before = set(self._refused.hosts)
        if not self._refused.take(word):
            return
        for host in set(self._refused.hosts) - before:
            _log.warning("host revoked", host=host)
        self._gossip.refuse(self._refused.hosts)
        self._changed()

    async def learn_trust(self) -> None:
        """Ask once a minute, for ever; without an answer everything stays as it is."""
        while True:
            try:
                trust = await self._control.cell_trust(self._cell)
            except P2PDeployError as error:
                _log.info("trust not learnt", code=error.code, reason=str(error))
            else:
                await self._take_answer(trust)
            await trio.sleep(self._every_s * self._rng.uniform(_EARLY, 1.0))

    async def _take_answer(self, trust: CellTrust) -> None:
        """Take each part of *trust* that is what it should be: each proves itself.

        What was refused is tried again with the next answer.
        """
        self._every_s = min(max(trust.ask_every_s, ASKED_EVERY_S_MIN), KEYS_ASKED_EVERY_S)
        # First, since the rest may be sealed with keys that are new.
        await self._try("order keys", self._learn_orders, trust.targets_version)
        await self._try("revocations", self._take_revocations, trust.revocations)
        await self._try("cell keys", self._take_cell_keys, trust.cell_keys)

    async def _try(self, part: str, take: Callable[[T], Awaitable[None]], told: T) -> None:
        try:
            await take(told)
        except P2PDeployError as error:
            _log.warning("trust not learnt", part=part, code=error.code, reason=str(error))
        except OSError as error:
            _log.warning("trust not kept", part=part, reason=str(error))

    async def _take_revocations(self, envelope: bytes) -> None:
        self._gossip.publish(envelope)  # comes back to hear(), once it is verified
        if envelope != self._kept_revocations:
            await _hop(save_revocations, self._folder, envelope)
            self._kept_revocations = envelope

    async def _take_cell_keys(self, keys: CellKeys) -> None:
        self._gossip.use_keys(keys)
        if keys != self._kept_cell_keys:
            await _hop(save_cell_keys, self._folder, keys)
            self._kept_cell_keys = keys


async def _hop(save: Callable[[Path, T], None], folder: Path, learnt: T) -> None:
    await trio.to_thread.run_sync(save, folder, learnt, limiter=_files)
