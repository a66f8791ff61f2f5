"""The gossip core of one host: an event and the time in, effects out.

It owns the membership (:mod:`~p2pdeploy.gossip.swim`), the replica of the cell's state and the
queue of rumours.  What arrives goes through :mod:`~p2pdeploy.gossip.inbox`, what leaves through
:mod:`~p2pdeploy.gossip.outbox`.  Pure: no clock, no socket; the random numbers come from the
generator it is given, so a seed replays a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

import msgspec

from p2pdeploy.gossip.anti_entropy import Verify
from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.dissemination import RumourQueue
from p2pdeploy.gossip.effects import (
    CrossOfferDue,
    Effect,
    GossipDue,
    ItemMerged,
    OfferDue,
    OrdersDue,
    ProbeDue,
    ProbeTimedOut,
    RelayTimedOut,
    Say,
    SetTimer,
    SuspicionExpired,
    Timer,
    UnreachableProbeDue,
)
from p2pdeploy.gossip.events import (
    Event,
    LeaveDecided,
    LocalItemPublished,
    LoopLagMeasured,
    PacketReceived,
    SeedsLearned,
    Started,
    StreamAnswered,
    StreamFailed,
    StreamRequested,
    TimerFired,
)
from p2pdeploy.gossip.inbox import Inbox
from p2pdeploy.gossip.members import is_alive
from p2pdeploy.gossip.outbox import Outbox, Step
from p2pdeploy.gossip.replication import Replication
from p2pdeploy.gossip.state import CellState, is_order
from p2pdeploy.gossip.statistics import Counters, GossipStatistics
from p2pdeploy.gossip.swim import Swim
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import Member, Status

if TYPE_CHECKING:
    from random import Random

__all__ = ["GossipCore"]


class GossipCore:
    """Drive it with ``handle(event, now)``; carry out the effects in order.

    Args:
        me: This host; its incarnation may be 0, an earlier life is outdone by refuting.
        cell: Packets and messages of any other are dropped and counted.
        config: Intervals and limits.
        rng: Owned by the core from here on.
        verify: Opens an envelope or raises; called before anything is kept or told on.
    """

    def __init__(
        self, me: Member, cell: CellId, config: GossipConfig, rng: Random, verify: Verify
    ) -> None:
        self.state = CellState(cell)
        self._name = me.name
        self._config = config
        self._rng = rng
        self._counters = Counters()
        self._rumours = RumourQueue()
        self._beliefs = Beliefs(me, config)
        self._members = self._beliefs.members
        self._swim = Swim(self._beliefs, config, rng)
        self._replication = Replication(
            self.state, self._beliefs, self._rumours, verify, self._counters
        )
        self._inbox = Inbox(
            cell,
            me.name,
            beliefs=self._beliefs,
            swim=self._swim,
            replication=self._replication,
            counters=self._counters,
        )
        self._outbox = Outbox(
            cell,
            me.name,
            config,
            members=self._members,
            rumours=self._rumours,
            counters=self._counters,
        )
        self._gossip_armed = self._orders_armed = False
        self._orders_told_at = -math.inf

    def __repr__(self) -> str:
        alive = self._members.alive_count()
        return f"<GossipCore {self._name}: {alive}/{len(self._members)} alive, {self.state!r}>"

    # --- what others may ask -----------------------------------------------------------------

    @property
    def me(self) -> Member:
        """Myself, with my current incarnation."""
        return self._beliefs.me

    def members(self) -> tuple[Member, ...]:
        """Everybody in name order, myself included."""
        return self._members.all()

    def alive_members(self) -> frozenset[HostName]:
        """Who was heard and seems alive, suspects and myself included.  Hints, never evidence."""
        heard = self._members.heard()
        return frozenset(member.name for member in heard if is_alive(member))

    def drop_unverified(self, *, attestations: bool) -> list[str]:
        """Forget orders that no longer verify, and attestations if asked; returns their keys."""
        return self._replication.drop_unverified(attestations=attestations)

    def statistics(self) -> GossipStatistics:
        """A snapshot of counters and sizes."""
        return GossipStatistics(
            totals=msgspec.structs.replace(self._counters),
            equivocations=self.state.equivocations,
            state_refusals=self.state.refusals,
            items=len(self.state),
            rumours=len(self._rumours),
            members_alive=len(self.alive_members()),
            members_suspect=self._members.count(Status.SUSPECT),
            members_unreachable=self._members.count(Status.UNREACHABLE),
            local_health=self._beliefs.health.score,
        )

    # --- events ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take *event* at *now* (seconds on a clock that never goes back).

        Raises:
            TrustError, ProtocolError, RefusedError: only for LocalItemPublished, when the
                envelope does not verify.  Nothing was changed.
        """
        effects = self._outbox.effects_of(self._decide(event, now))
        if self._rumours and self._members.alive_count() > 1:
            effects += self._arm_gossip(effects, now)
        return effects

    def _arm_gossip(self, effects: Sequence[Effect], now: float) -> list[SetTimer]:
        timers: list[SetTimer] = []
        if not self._gossip_armed:
            self._gossip_armed = True
            timers.append(SetTimer(GossipDue(), now + self._config.gossip_interval_s))
        if not self._orders_armed and any(map(_brings_order, effects)):
            self._orders_armed = True
            next_at = self._orders_told_at + self._config.order_interval_s
            timers.append(SetTimer(OrdersDue(), max(now, next_at)))
        return timers

    def _decide(self, event: Event, now: float) -> Sequence[Step]:
        match event:
            case PacketReceived():
                return self._inbox.packet_received(event, now)
            case TimerFired(timer=timer):
                return self._timer_fired(timer, now)
            case StreamRequested():
                return self._inbox.stream_requested(event, now)
            case StreamAnswered():
                return self._inbox.stream_answered(event, now)
            case StreamFailed():
                self._inbox.stream_failed(event)
                return []
            case LocalItemPublished(envelope=envelope):
                return self._replication.publish(envelope)
            case SeedsLearned(members=members):
                return self._beliefs.seeds_learned(members)
            case LoopLagMeasured(lag_s=lag_s):
                if lag_s > self._config.loop_lag_tolerated_s:
                    self._beliefs.health.worsen()
                return []
            case Started():
                return [*self._swim.start(now), *self._start_offers(now)]
            case LeaveDecided():
                return [*self._beliefs.leave(), *self._gossip()]
            case _:
                assert_never(event)

    def _start_offers(self, now: float) -> list[SetTimer]:
        config, rng = self._config, self._rng
        return [
            SetTimer(OfferDue(), now + rng.uniform(0, config.offer_interval_s)),
            SetTimer(CrossOfferDue(), now + rng.uniform(0, config.cross_offer_interval_s)),
        ]

    def _timer_fired(self, timer: Timer, now: float) -> Sequence[Step]:
        match timer:
            case ProbeDue():
                return self._swim.probe_due(now)
            case ProbeTimedOut(token=token):
                return self._swim.probe_timed_out(token)
            case RelayTimedOut(token=token):
                return self._swim.relay_timed_out(token)
            case SuspicionExpired(name=name, incarnation=incarnation):
                return self._beliefs.suspicion_expired(name, incarnation, now)
            case UnreachableProbeDue():
                return self._swim.unreachable_probe_due(now)
            case GossipDue():
                self._gossip_armed = False
                return self._gossip()
            case OrdersDue():
                self._orders_armed, self._orders_told_at = False, now
                return self._gossip()
            case OfferDue():
                return self._offer(timer, now + self._config.offer_interval_s)
            case CrossOfferDue():
                return self._offer(timer, now + self._config.cross_offer_interval_s)
            case _:
                assert_never(timer)

    def _offer(self, timer: OfferDue | CrossOfferDue, again_at: float) -> list[Step]:
        mine = self.me.fault_domain
        anywhere = isinstance(timer, OfferDue)
        picked = self._members.pick(
            self._rng, 1, lambda m: is_alive(m) and (anywhere or m.fault_domain != mine)
        )
        offers = [Say(m.address, m.gossip_port, self._replication.offer()) for m in picked]
        return [*offers, SetTimer(timer, again_at)]

    def _gossip(self) -> list[Step]:
        """Rumours to a few random members; those that were told often enough are gone then."""
        peers = self._members.pick(self._rng, self._config.gossip_peers, is_alive)
        return [Say(m.address, m.gossip_port, None) for m in peers]


def _brings_order(effect: Effect) -> bool:
    return isinstance(effect, ItemMerged) and is_order(effect.item.key)
