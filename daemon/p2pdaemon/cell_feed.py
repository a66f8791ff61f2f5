"""From gossip to the activation core, without a queue that could overflow.

Gossip calls :meth:`CellFeed.hear` and may not wait.  What has not reached the core yet is kept by
key, newest only, so it is never more than the cell's state holds; and since the core takes the
newest word of each writer anyway, it does without what is skipped as after a partition.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from p2pdaemon.config import DaemonConfig
from p2pdeploy.activation.events import (
    CredentialReplaced,
    Event,
    MembersChanged,
    MessageMerged,
    OrdersRefused,
)
from p2pdeploy.gossip.effects import ItemMerged, ItemsDropped, MemberChanged, Notice
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.gossip.state import URGENCIES, urgency_of
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Member
from p2pdeploy.trust.cell_keys import CellKeys
from p2pdeploy.trust.envelope import Sealed, Verifier, open_envelope

__all__ = ["CellFeed", "make_gossip"]


def make_gossip(config: DaemonConfig, keys: CellKeys, verifier: Verifier) -> GossipShell:
    """This host's gossip, not yet running.  Raises ConfigError for a foreign address."""
    me = Member(
        name=config.name,
        address=config.address,
        gossip_port=config.gossip_port,
        swarm_port=config.swarm_port,
        fault_domain=config.fault_domain,
    )
    return GossipShell(
        me=me,
        cell=config.cell,
        rng=random.Random(),
        verify=partial(open_envelope, verifier=verifier),
        keys=keys,
    )


class CellFeed:
    """Carries orders, attestations and membership to the core.

    Args:
        alive_members: Asked when membership has changed.
        send: Hands an event to the core; may wait.
    """

    def __init__(
        self,
        alive_members: Callable[[], frozenset[HostName]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        self._alive_members = alive_members
        self._send = send
        self._pending = tuple(dict[str, Sealed]() for _ in range(URGENCIES))
        self._dropped: dict[str, None] = {}  # keys, each once
        self._members_changed = True  # the first look is news
        self._credential_replaced = False
        self._alive: frozenset[HostName] = frozenset()
        self._news = trio.Event()
        self._news.set()

    def hear(self, notice: Notice) -> None:
        """Take note; called by gossip, never waits."""
        match notice:
            case ItemMerged(message=message, item=item):
                self._pending[urgency_of(item.key)][item.key] = message
            case ItemsDropped(keys=keys):
                for key in keys:
                    self._pending[urgency_of(key)].pop(key, None)
                    self._dropped[key] = None
            case MemberChanged():
                self._members_changed = True
        self._news.set()

    def say_again(self) -> None:
        """Our credential was replaced: the core says all it has said again.  Never waits."""
        self._credential_replaced = True
        self._news.set()

    async def feed_core(self) -> None:
        """Hand over what was heard, the most urgent first, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while (event := self._next()) is not None:
                await self._send(event)
            if self._credential_replaced:
                self._credential_replaced = False
                await self._send(CredentialReplaced())
            if self._members_changed:
                self._members_changed = False
                await self._tell_members()

    def _next(self) -> OrdersRefused | MessageMerged | None:
        if self._dropped:  # first: what is pending came since, sealed anew
            keys, self._dropped = tuple(self._dropped), {}
            return OrdersRefused(keys)
        for pending in self._pending:
            if pending:
                return MessageMerged(pending.pop(next(iter(pending))))
        return None

    async def _tell_members(self) -> None:
        alive = self._alive_members()
        if alive != self._alive:
            self._alive = alive
            await self._send(MembersChanged(alive))
