"""What leaves: the shell's effects, with every datagram filled up with rumours."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.dissemination import RumourQueue
from p2pdeploy.gossip.effects import (
    Call,
    Effect,
    ReplyStream,
    Say,
    SendDatagram,
    SendStream,
    Spread,
)
from p2pdeploy.gossip.members import MemberTable
from p2pdeploy.gossip.replication import ReplicationEffect
from p2pdeploy.gossip.statistics import Counters
from p2pdeploy.gossip.swim import SwimEffect
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import Message, Packet, Rumour

__all__ = ["PACKET_BYTES_MAX", "Outbox", "Step"]

# What a datagram leaves for the packet after its header with the longest name, and its tag
# (gossip/wire.py asserts that this is so).
PACKET_BYTES_MAX = DATAGRAM_BYTES_MAX - 109
# The header of an array of rumours grows from one byte to three.
ARRAY_HEADER_BYTES = 2

Step = SwimEffect | ReplicationEffect | ReplyStream
"""What a part of the core asks for."""


class Outbox:
    """Turns the steps of the core's parts into effects of this host."""

    def __init__(
        self,
        cell: CellId,
        name: HostName,
        config: GossipConfig,
        *,
        members: MemberTable,
        rumours: RumourQueue,
        counters: Counters,
    ) -> None:
        self._cell = cell
        self._name = name
        self._config = config
        self._members = members
        self._rumours = rumours
        self._counters = counters

    def effects_of(self, steps: Sequence[Step]) -> list[Effect]:
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

    def _packet(self, message: Message | None, rumours: tuple[Rumour, ...] = ()) -> Packet:
        return Packet(self._cell, self._name, message, rumours)
