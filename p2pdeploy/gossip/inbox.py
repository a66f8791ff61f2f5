"""What arrives: each message goes to the part of the core that it is for.

Packets of another cell, and messages that do not belong on their channel, are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.effects import ReplyStream
from p2pdeploy.gossip.events import PacketReceived, StreamAnswered, StreamFailed, StreamRequested
from p2pdeploy.gossip.outbox import Step
from p2pdeploy.gossip.replication import Replication
from p2pdeploy.gossip.statistics import Counters
from p2pdeploy.gossip.swim import Swim
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import (
    Ack,
    Diff,
    Exchange,
    Have,
    Item,
    Items,
    MemberRumour,
    Nack,
    Offer,
    Packet,
    Ping,
    PingRequest,
)

__all__ = ["Inbox"]


class Inbox:
    """Takes datagrams, stream requests and their replies; returns what the parts ask for."""

    def __init__(
        self,
        cell: CellId,
        name: HostName,
        *,
        beliefs: Beliefs,
        swim: Swim,
        replication: Replication,
        counters: Counters,
    ) -> None:
        self._cell = cell
        self._name = name
        self._beliefs = beliefs
        self._swim = swim
        self._replication = replication
        self._counters = counters

    def packet_received(self, event: PacketReceived, now: float) -> Sequence[Step]:
        packet, address, port = event.packet, event.address, event.port
        if self._is_foreign(packet):
            return []
        self._counters.packets_received += 1
        steps = self._rumours_heard(event, now)
        steps += self._beliefs.sender_heard(packet.sender, now)
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

    def _rumours_heard(self, event: PacketReceived, now: float) -> list[Step]:
        """Members first, the living before the suspected; then items."""
        rumours = event.packet.rumours
        steps: list[Step] = []
        members = [rumour for rumour in rumours if isinstance(rumour, MemberRumour)]
        for rumour in sorted(members, key=lambda rumour: rumour.member.status):
            steps += self._beliefs.rumour_heard(rumour, now)
        steps += self._replication.take_items(tuple(r for r in rumours if isinstance(r, Item)))
        for have in rumours:
            if isinstance(have, Have):
                steps += self._replication.have_heard(event.address, event.port, have)
        return steps

    def stream_requested(self, event: StreamRequested, now: float) -> Sequence[Step]:
        if self._is_foreign(event.packet):
            return [ReplyStream(event.stream, None)]
        self._counters.streams_served += 1
        steps: Iterable[Step] = ()
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
        packet = Packet(self._cell, self._name, reply, ())
        return [ReplyStream(event.stream, packet), *steps]

    def stream_answered(self, event: StreamAnswered, now: float) -> Sequence[Step]:
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

    def stream_failed(self, event: StreamFailed) -> None:
        self._counters.streams_failed += 1
        self._replication.call_ended(event.address, event.port, event.request.message)

    def _is_foreign(self, packet: Packet) -> bool:
        foreign = packet.cell != self._cell
        self._counters.dropped_foreign_cell += foreign
        return foreign
