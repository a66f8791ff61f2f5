"""What the gossip core asks its shell to do, and the timers it gets back as values.

A timer is never cancelled: one that has lost its meaning is recognised when it comes back.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Item, Member, MemberRumour, Message, Packet
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "Call",
    "CrossOfferDue",
    "Effect",
    "GossipDue",
    "ItemMerged",
    "ItemsDropped",
    "MemberChanged",
    "Notice",
    "OfferDue",
    "OrdersDue",
    "ProbeDue",
    "ProbeTimedOut",
    "RelayTimedOut",
    "ReplyStream",
    "Say",
    "SendDatagram",
    "SendStream",
    "SetTimer",
    "Spread",
    "SuspicionExpired",
    "Timer",
    "UnreachableProbeDue",
]


class ProbeDue(msgspec.Struct, frozen=True):
    """Judge the last probe and begin the next."""


class ProbeTimedOut(msgspec.Struct, frozen=True):
    """The direct ping had its time; ask others."""

    token: int


class RelayTimedOut(msgspec.Struct, frozen=True):
    """A ping sent for somebody else had its time; say Nack."""

    token: int


class SuspicionExpired(msgspec.Struct, frozen=True):
    """The suspect of this incarnation had its time to refute."""

    name: HostName
    incarnation: int


class UnreachableProbeDue(msgspec.Struct, frozen=True):
    """Try one unreachable member."""


class GossipDue(msgspec.Struct, frozen=True):
    """Send rumours."""


class OrdersDue(msgspec.Struct, frozen=True):
    """Send rumours, because there is an order among them."""


class OfferDue(msgspec.Struct, frozen=True):
    """Offer the state to a random member."""


class CrossOfferDue(msgspec.Struct, frozen=True):
    """Offer the state to a member of another fault domain."""


Timer = (
    ProbeDue
    | ProbeTimedOut
    | RelayTimedOut
    | SuspicionExpired
    | UnreachableProbeDue
    | GossipDue
    | OrdersDue
    | OfferDue
    | CrossOfferDue
)


class SendDatagram(msgspec.Struct, frozen=True):
    """Send and forget."""

    address: str
    port: int
    packet: Packet


class SendStream(msgspec.Struct, frozen=True):
    """One request and one reply; answer exactly one StreamAnswered or StreamFailed."""

    address: str
    port: int
    request: Packet


class ReplyStream(msgspec.Struct, frozen=True):
    """Answer the StreamRequested that had this number; None: just close it."""

    stream: int
    reply: Packet | None


class SetTimer(msgspec.Struct, frozen=True):
    """Hand *timer* back as TimerFired at *at*, on the clock that ``now`` is read from."""

    timer: Timer
    at: float


class ItemMerged(msgspec.Struct, frozen=True):
    """*message* is verified and new in the cell's state, published here or received."""

    message: Sealed
    item: Item


class ItemsDropped(msgspec.Struct, frozen=True):
    """The items under *keys* left the cell's state: by the keys of today they don't verify.

    Whoever acted on them has to forget them as well.
    """

    keys: tuple[str, ...]


class MemberChanged(msgspec.Struct, frozen=True):
    """A member is new, or its status or address changed.  A hint, never evidence."""

    member: Member


Notice = ItemMerged | ItemsDropped | MemberChanged
"""What listeners hear."""


Effect = SendDatagram | SendStream | ReplyStream | SetTimer | ItemMerged | MemberChanged


# What the parts of the core ask of the core itself, which fills packets up with rumours.


class Say(msgspec.Struct, frozen=True):
    """Send *message* by datagram, with *rumours* in any case and others as they fit.

    Without a message it is sent only if there are rumours.
    """

    address: str
    port: int
    message: Message | None
    rumours: tuple[MemberRumour, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """Send *message* by stream."""

    address: str
    port: int
    message: Message


class Spread(msgspec.Struct, frozen=True):
    """Tell everybody."""

    rumour: MemberRumour
