"""The core's half of the state: what is merged, offered, pulled and handed out.

Every item passes :func:`~p2pdeploy.gossip.anti_entropy.admit`, so nothing unverified is kept or
told on.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.gossip.anti_entropy import (
    Verify,
    admit,
    answer_diff,
    answer_exchange,
    answer_offer,
    drop_unverified,
    offer,
    open_item,
)
from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.dissemination import RumourQueue, rumour_of
from p2pdeploy.gossip.effects import Call, ItemMerged, MemberChanged, SetTimer, Spread
from p2pdeploy.gossip.members import supersedes
from p2pdeploy.gossip.state import CellState, is_order
from p2pdeploy.gossip.statistics import Counters
from p2pdeploy.messages.gossip import (
    Diff,
    Exchange,
    Have,
    Item,
    Items,
    Member,
    MemberRumour,
    Offer,
)

__all__ = ["Replication", "ReplicationEffect"]

# Exchanges and pulls under way at once; a rollout in full swing needs two or three.
CALLS_MAX = 8
# A larger batch comes out of a healed partition.  Others get it by anti-entropy as well; telling
# all of it on would flood the cell with what most already have.  Orders are always told on.
TOLD_ON_MAX = 16

ReplicationEffect = ItemMerged | Call | Spread | SetTimer | MemberChanged


class Replication:
    """The cell's state with the rumours about it and the exchanges under way."""

    def __init__(
        self,
        state: CellState,
        beliefs: Beliefs,
        rumours: RumourQueue,
        verify: Verify,
        counters: Counters,
    ) -> None:
        self.state = state
        self._beliefs = beliefs
        self._rumours = rumours
        self._verify = verify
        self._counters = counters
        self._calls: set[tuple[str, int, str]] = set()  # (address, port, key pulled or "")

    def offer(self) -> Offer:
        """State and membership in short."""
        return offer(self.state, members=self._beliefs.members.digest())

    def publish(self, envelope: bytes) -> list[ReplicationEffect]:
        """Take an envelope of this host's own or from the control plane, and tell it.

        Raises:
            TrustError, ProtocolError, RefusedError: it does not verify; nothing was changed.
        """
        item, message = open_item(envelope, self.state.cell, self._verify)
        if not self.state.merge(item):
            return []
        return [self._merged(ItemMerged(message, item), tell=True)]

    def drop_unverified(self, *, attestations: bool) -> list[str]:
        """Forget what no longer verifies, and what is told of it; returns where it stood."""
        dropped = drop_unverified(self.state, self._verify, attestations=attestations)
        for key in dropped:
            self._rumours.forget(key)
        return dropped

    def take_items(self, items: tuple[Item, ...]) -> list[ReplicationEffect]:
        """Keep what is new and verifies; tell it on."""
        admission = admit(self.state, items, self._verify)
        self._counters.items_refused += admission.refused
        tell_all = len(admission.merged) <= TOLD_ON_MAX
        return [
            self._merged(
                ItemMerged(message, item),
                tell=tell_all or is_order(item.key),
            )
            for item, message in admission.merged
        ]

    def _merged(self, effect: ItemMerged, *, tell: bool) -> ItemMerged:
        self._counters.items_merged += 1
        if tell:
            self._rumours.push(rumour_of(effect.item))
        return effect

    def have_heard(self, address: str, port: int, have: Have) -> list[ReplicationEffect]:
        """Pull what is too large for a datagram, unless that is under way already."""
        if not self.state.lacks(have.key, have.version) or len(self._calls) >= CALLS_MAX:
            return []
        if any(key == have.key for _, _, key in self._calls):
            return []
        self._calls.add((address, port, have.key))
        return [Call(address, port, Exchange((), (have.key,)))]

    def offered(self, address: str, port: int, theirs: Offer) -> list[ReplicationEffect]:
        """Open an exchange with whoever offers a state or a membership that is not mine."""
        diff = answer_offer(self.state, theirs)
        same_members = theirs.members in (0, self._beliefs.members.digest())
        if not diff.buckets and same_members:
            return []
        if (address, port, "") in self._calls or len(self._calls) >= CALLS_MAX:
            return []
        self._calls.add((address, port, ""))
        if not same_members:
            diff = msgspec.structs.replace(diff, members=self._beliefs.members.heard())
        return [Call(address, port, diff)]

    def diff_asked(self, diff: Diff, now: float) -> tuple[Exchange, list[ReplicationEffect]]:
        """Answer a Diff with what the asker lacks, and take its membership."""
        exchange = answer_diff(self.state, diff)
        if diff.members:
            exchange = msgspec.structs.replace(exchange, members=self._members_beyond(diff.members))
        return exchange, self._take_members(diff.members, now)

    def exchange_asked(self, exchange: Exchange) -> tuple[Items, list[ReplicationEffect]]:
        """Answer a pull with the items wanted, and take those that came along."""
        return answer_exchange(self.state, exchange), self.take_items(exchange.items)

    def exchange_answered(
        self, address: str, port: int, exchange: Exchange, now: float
    ) -> list[ReplicationEffect]:
        """My Diff was answered: take the items, send those that are wanted."""
        effects = self.take_items(exchange.items) + self._take_members(exchange.members, now)
        wanted = answer_exchange(self.state, exchange)
        if wanted.items:
            effects.append(Call(address, port, wanted))
        return effects

    def call_ended(self, address: str, port: int, request: object) -> None:
        """A Call of mine was answered or failed; its place is free again."""
        if isinstance(request, Exchange):
            self._calls -= {(address, port, key) for key in request.wants}
        elif isinstance(request, Diff):
            self._calls.discard((address, port, ""))

    def _members_beyond(self, theirs: tuple[Member, ...]) -> tuple[Member, ...]:
        known = {member.name: member for member in theirs}
        return tuple(
            mine
            for mine in self._beliefs.members.heard()
            if mine.name not in known or supersedes(mine, known[mine.name])
        )

    def _take_members(self, members: tuple[Member, ...], now: float) -> list[ReplicationEffect]:
        effects: list[ReplicationEffect] = []
        for member in members:
            effects += self._beliefs.rumour_heard(MemberRumour(member), now)
        return effects
