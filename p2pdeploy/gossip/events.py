"""What can happen to the gossip core."""

from __future__ import annotations

import msgspec

from p2pdeploy.gossip.effects import Timer
from p2pdeploy.messages.gossip import Member, Packet

__all__ = [
    "Event",
    "LeaveDecided",
    "LocalItemPublished",
    "LoopLagMeasured",
    "PacketReceived",
    "SeedsLearned",
    "Started",
    "StreamAnswered",
    "StreamFailed",
    "StreamRequested",
    "TimerFired",
]


class Started(msgspec.Struct, frozen=True):
    """The shell is ready; comes once, first."""


class PacketReceived(msgspec.Struct, frozen=True):
    """A datagram came whose tag holds.  Replies go to where it came from."""

    address: str
    port: int
    packet: Packet


class StreamRequested(msgspec.Struct, frozen=True):
    """A peer opened a stream; ReplyStream with this number answers it."""

    stream: int
    packet: Packet


class StreamAnswered(msgspec.Struct, frozen=True):
    """The reply to a SendStream."""

    address: str
    port: int
    request: Packet
    reply: Packet


class StreamFailed(msgspec.Struct, frozen=True):
    """A SendStream had no reply: refused, timed out, cut off or malformed."""

    address: str
    port: int
    request: Packet


class TimerFired(msgspec.Struct, frozen=True):
    """A SetTimer's time has come."""

    timer: Timer


class LocalItemPublished(msgspec.Struct, frozen=True):
    """This host sealed an attestation, or had an order from the control plane."""

    envelope: bytes


class SeedsLearned(msgspec.Struct, frozen=True):
    """The inventory's hosts of this cell.  Adds and corrects addresses; removes nobody.

    Whom to try: none of them counts as alive before it was heard.
    """

    members: tuple[Member, ...]


class LoopLagMeasured(msgspec.Struct, frozen=True):
    """How late the event loop was, in seconds."""

    lag_s: float


class LeaveDecided(msgspec.Struct, frozen=True):
    """The daemon is about to stop in good order."""


Event = (
    Started
    | PacketReceived
    | StreamRequested
    | StreamAnswered
    | StreamFailed
    | TimerFired
    | LocalItemPublished
    | SeedsLearned
    | LoopLagMeasured
    | LeaveDecided
)
