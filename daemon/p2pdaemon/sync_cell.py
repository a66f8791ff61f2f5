"""A delegate's part: it brings orders into its cell, and what the cell says to the control plane.

Both are the same exchange (messages/sync.py), asked for by two tasks.  One asks again and again
and is answered when there is an order, so that none waits for its turn; the other asks when there
is news here.
"""

from __future__ import annotations

import random
from functools import partial

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.log import get_logger
from p2pdaemon.tries import Tries
from p2pdeploy.errors import P2PDeployError, ProtocolError
from p2pdeploy.gossip.anti_entropy import EXCHANGE_BYTES_MAX, answer_diff, delegates_of, offer
from p2pdeploy.gossip.effects import ItemMerged, ItemsDropped, MemberChanged, Notice
from p2pdeploy.gossip.members import is_alive, is_heard
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.sync import (
    HELD_S_MAX,
    MemberView,
    SyncDiff,
    SyncExchange,
    SyncItems,
    SyncOffer,
)

__all__ = ["CellSync"]

SYNC_BUSY_S = 0.5  # between two times that news of the cell goes up
# Between two questions for orders, when the control plane does not hold them.
SYNC_IDLE_S = 2.0  # the first of four that ask at random times: half a second, mostly
SYNC_NEXT_S = 0.05  # after orders came: more than this often none is issued

_log = get_logger("control")


class CellSync:
    """Makes the control plane's replica of the cell and this host's equal, while a delegate.

    Args:
        config: This host and its cell.
        control: The client.
        gossip: The cell's replica; what the control plane says is published there.
        tries: Goes on trying.
        rng: Spreads the calls of many hosts.
    """

    def __init__(
        self,
        config: DaemonConfig,
        control: ControlPlane,
        gossip: GossipShell,
        tries: Tries,
        rng: random.Random,
    ) -> None:
        self._cell = config.cell
        self._host = config.name
        self._control = control
        self._gossip = gossip
        self._tries = tries
        self._rng = rng
        self._seen = 0  # revision of the cell that the control plane last told
        self._news = trio.Event()
        self.refusals = 0  # items that did not verify

    @property
    def failures(self) -> int:
        """Calls of the control plane that had no usable answer."""
        return self._tries.failures

    def is_delegate(self) -> bool:
        """Whether this host talks to the control plane for its cell now."""
        # Whoever was not heard yet counts: or, switched on, a whole cell would be delegates.
        present = (member.name for member in self._gossip.members() if is_alive(member))
        return self._host in delegates_of(self._cell, present)

    def hear(self, notice: Notice) -> None:
        """Take note of what the control plane may not know; called by gossip, never waits."""
        match notice:
            case ItemMerged(message=message) if not isinstance(message, Attestation):
                pass  # an order: it came from there
            case ItemMerged() | ItemsDropped() | MemberChanged():
                self._news.set()

    async def hear_orders(self) -> None:
        """While this host is a delegate: ask for orders, each time until there are some."""
        while True:
            asked_s = trio.current_time()
            outcome, before = "", self._seen
            if self.is_delegate():
                outcome = await self._tries.attempt("sync", self._wait_orders)
            if not outcome:
                self._seen = 0  # whoever answers next may count anew
            await trio.sleep_until(asked_s + self._pace_s(outcome, before))

    def _pace_s(self, outcome: str, before: int) -> float:
        """From one question to the next at least; mostly the first was held for longer."""
        if self._seen not in (0, before):
            return SYNC_NEXT_S
        if outcome == "moved":
            return SYNC_BUSY_S
        return SYNC_IDLE_S * self._rng.uniform(0.5, 1.0)  # delegates never ask in step

    async def tell_news(self) -> None:
        """While this host is a delegate: tell the control plane at once what is new here."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if self.is_delegate():
                tell = partial(self._sync, self._offer())
                if not await self._tries.attempt("news", tell):
                    self._news.set()
            await self._tries.pause(SYNC_BUSY_S)

    async def _wait_orders(self) -> str:
        wait_s = HELD_S_MAX * self._rng.uniform(0.75, 1.0)
        return await self._sync(self._offer(seen=self._seen, wait_s=wait_s))

    # -- one exchange ------------------------------------------------------------------------

    def _offer(self, *, seen: int = 0, wait_s: float = 0.0) -> SyncOffer:
        members = tuple(
            MemberView(member.name, member.status, member.incarnation)
            for member in self._gossip.members()
            if is_heard(member)
        )
        return SyncOffer(
            cell=self._cell,
            host=self._host,
            members=members,
            offer=offer(self._gossip.state),
            seen=seen,
            wait_s=wait_s,
        )

    async def _sync(self, offered: SyncOffer) -> str:
        """Both posts.  ``equal`` when there was nothing to say, else ``moved``."""
        told = await self._control.sync(self._cell, offered)
        if not isinstance(told, SyncDiff):
            raise ProtocolError("the control plane answered an offer with something else")
        if not told.diff.buckets:
            self._seen = told.revision
            return "equal"
        exchange = answer_diff(self._gossip.state, told.diff)
        answer = await self._control.sync(
            self._cell, SyncExchange(cell=self._cell, host=self._host, exchange=exchange)
        )
        if not isinstance(answer, SyncItems):
            raise ProtocolError("the control plane answered an exchange with something else")
        for item in answer.items.items:
            self._publish(item.envelope)
        # What did not fit either way follows without waiting for more.
        is_whole = len(answer.items.items) == len(exchange.wants)
        self._seen = told.revision if is_whole else 0
        if sum(len(item.envelope) for item in exchange.items) > EXCHANGE_BYTES_MAX // 2:
            self._news.set()
        return "moved"

    def _publish(self, envelope: bytes) -> None:
        try:
            self._gossip.publish(envelope)
        except P2PDeployError as error:
            # One bad item must not keep the others from the cell.
            self.refusals += 1
            _log.warning("order refused", code=error.code, error=str(error))
