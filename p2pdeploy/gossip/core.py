"""The gossip core of one host: an event and the time in, effects out.

It owns the membership (:mod:`~p2pdeploy.gossip.swim`), the replica of the cell's state and the
queue of rumours, and fills every datagram up with rumours.  Pure: no clock, no socket; the
random numbers come from the generator it is given, so a seed replays a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, assert_never

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.gossip.anti_entropy import Verify
from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.dissemination import RumourQueue
from p2pdeploy.gossip.effects import (
    Call,
    CrossOfferDue,
    Effect,
    GossipDue,
    OfferDue,
    ProbeDue,
    ProbeTimedOut,
    RelayTimedOut,
    ReplyStream,
    Say,
    SendDatagram,
    SendStream,
    SetTimer,
    Spread,
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
from p2pdeploy.gossip.members import is_alive
from p2pdeploy.gossip.replication import Replication, ReplicationEffect
from p2pdeploy.gossip.state import CellState
from p2pdeploy.gossip.statistics import Counters, GossipStatistics
from p2pdeploy.gossip.swim import Swim, SwimEffect
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import (
    Ack,
    Diff,
    Exchange,
    Have,
    Item,
    Items,
    Member,
    MemberRumour,
    Message,
    Nack,
    Offer,
    Packet,
    Ping,
    PingRequest,
    Rumour,
    Status,
)

if TYPE_CHECKING:
    from random import Random

__all__ = ["PACKET_BYTES_MAX", "GossipCore"]

# What a datagram leaves for the packet after its MAC (gossip/wire.py asserts that this is so).
PACKET_BYTES_MAX = DATAGRAM_BYTES_MAX - 16
# The header of an array of rumours grows from one byte to three.
ARRAY_HEADER_BYTES = 2

_Step = SwimEffect | ReplicationEffect | ReplyStream


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
        self._cell = cell
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
        self._gossip_armed = False

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
        """Who seems alive, suspects and myself included.  Hints, never evidence."""
        return frozenset(member.name for member in self._members.all() if is_alive(member))

    def statistics(self) -> GossipStatistics:
        """A snapshot of counters and sizes."""
        return GossipStatistics(
            totals=msgspec.structs.replace(self._counters),
            equivocations=self.state.equivocations,
            state_refusals=self.state.refusals,
            items=len(self.state),
            rumours=len(self._rumours),
            members_alive=self._members.alive_count(),
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
        effects = self._carry(self._decide(event, now))
        if self._rumours and not self._gossip_armed and self._members.alive_count() > 1:
            self._gossip_armed = True
            effects.append(SetTimer(GossipDue(), now + self._config.gossip_interval_s))
        return effects

    def _decide(self, event: Event, now: float) -> Sequence[_Step]:
        match event:
            case PacketReceived():
                return self._packet_received(event, now)
            case TimerFired(timer=timer):
                return self._timer_fired(timer, now)
            case StreamRequested():
                return self._stream_requested(event, now)
            case StreamAnswered():
                return self._stream_answered(event, now)
            case StreamFailed():
                self._counters.streams_failed += 1
                self._replication.call_ended(event.address, event.port, event.request.message)
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

    def _timer_fired(self, timer: Timer, now: float) -> Sequence[_Step]:
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
            case OfferDue():
                return self._offer(timer, now + self._config.offer_interval_s)
            case CrossOfferDue():
                return self._offer(timer, now + self._config.cross_offer_interval_s)
            case _:
                assert_never(timer)

    def _offer(self, timer: OfferDue | CrossOfferDue, again_at: float) -> list[_Step]:
        mine = self.me.fault_domain
        anywhere = isinstance(timer, OfferDue)
        picked = self._members.pick(
            self._rng, 1, lambda m: is_alive(m) and (anywhere or m.fault_domain != mine)
        )
        offers = [Say(m.address, m.gossip_port, self._replication.offer()) for m in picked]
        return [*offers, SetTimer(timer, again_at)]

    def _gossip(self) -> list[_Step]:
        """Rumours to a few random members; those that were told often enough are gone then."""
        peers = self._members.pick(self._rng, self._config.gossip_peers, is_alive)
        return [Say(m.address, m.gossip_port, None) for m in peers]

    # --- packets -----------------------------------------------------------------------------

    def _is_foreign(self, packet: Packet) -> bool:
        foreign = packet.cell != self._cell
        self._counters.dropped_foreign_cell += foreign
        return foreign

    def _packet_received(self, event: PacketReceived, now: float) -> Sequence[_Step]:
        packet, address, port = event.packet, event.address, event.port
        if self._is_foreign(packet):
            return []
        self._counters.packets_received += 1
        steps = self._rumours_heard(event, now)
        match packet.message:
            case None:
                pass
            case Ping() as ping:
                steps += self._swim.pinged(address, port, ping, packet.sender)
            case Ack(token=token):
                steps += self._swim.acked(token)
            case PingRequest() as request:
                steps += self._swim.ping_requested(address, port, request, now)
            case Nack(token=token):
                self._swim.nacked(token)
            case Offer() as offer:
                steps += self._replication.offered(address, port, offer)
            case _:
                self._counters.dropped_misplaced += 1
        return steps

    def _rumours_heard(self, event: PacketReceived, now: float) -> list[_Step]:
        """Members first, the living before the suspected; then items."""
        rumours = event.packet.rumours
        steps: list[_Step] = []
        members = [rumour for rumour in rumours if isinstance(rumour, MemberRumour)]
        for rumour in sorted(members, key=lambda rumour: rumour.member.status):
            steps += self._beliefs.rumour_heard(rumour, now)
        steps += self._replication.take_items(tuple(r for r in rumours if isinstance(r, Item)))
        for have in rumours:
            if isinstance(have, Have):
                steps += self._replication.have_heard(event.address, event.port, have)
        return steps

    def _stream_requested(self, event: StreamRequested, now: float) -> Sequence[_Step]:
        if self._is_foreign(event.packet):
            return [ReplyStream(event.stream, None)]
        self._counters.streams_served += 1
        steps: Iterable[_Step] = ()
        match event.packet.message:
            case Ping(token=token, target=self._name):
                reply = Ack(token)
            case Diff() as diff:
                reply, steps = self._replication.diff_asked(diff, now)
            case Exchange() as exchange:
                reply, steps = self._replication.exchange_asked(exchange)
            case Items(items=items):
                reply, steps = Items(()), self._replication.take_items(items)
            case _:
                self._counters.dropped_misplaced += 1
                return [ReplyStream(event.stream, None)]
        return [ReplyStream(event.stream, self._packet(reply)), *steps]

    def _stream_answered(self, event: StreamAnswered, now: float) -> Sequence[_Step]:
        self._replication.call_ended(event.address, event.port, event.request.message)
        if self._is_foreign(event.reply):
            return []
        match event.reply.message:
            case Ack(token=token):
                return self._swim.acked(token)
            case Exchange() as exchange:
                return self._replication.exchange_answered(event.address, event.port, exchange, now)
            case Items(items=items):
                return self._replication.take_items(items)
            case _:
                self._counters.dropped_misplaced += 1
                return []

    # --- effects -----------------------------------------------------------------------------

    def _packet(self, message: Message | None, rumours: tuple[Rumour, ...] = ()) -> Packet:
        return Packet(self._cell, self._name, message, rumours)

    def _carry(self, steps: Sequence[_Step]) -> list[Effect]:
        """Turn what the parts ask for into the shell's effects.

        What is to be told goes into the queue before any datagram is filled, so that the answer
        to an accusation carries the refutation.
        """
        for step in steps:
            if isinstance(step, Spread):
                self._rumours.push(step.rumour)
        effects: list[Effect] = []
        for step in steps:
            match step:
                case Spread():
                    pass
                case Say():
                    effects += self._fill(step)
                case Call(address=address, port=port, message=message):
                    self._counters.streams_opened += 1
                    effects.append(SendStream(address, port, self._packet(message)))
                case _:
                    effects.append(step)
        return effects

    def _fill(self, say: Say) -> list[SendDatagram]:
        """A datagram with as many rumours as fit; none at all if it would be empty."""
        packet = self._packet(say.message, say.rumours)
        room_bytes = PACKET_BYTES_MAX - len(encode(packet)) - ARRAY_HEADER_BYTES
        transmits_max = self._config.transmits_max(self._members.alive_count())
        rumours = say.rumours + self._rumours.take(room_bytes, transmits_max)
        if say.message is None and not rumours:
            return []
        self._counters.packets_sent += 1
        packet = msgspec.structs.replace(packet, rumours=rumours)
        return [SendDatagram(say.address, say.port, packet)]
