"""Gossip: what the members of a cell tell each other.

One :class:`Packet` type serves both channels.  Datagrams carry Ping, PingRequest, Ack, Nack and
Offer, and are filled up with rumours.  Streams carry one request and one reply: Ping -> Ack,
Diff -> Exchange, Exchange -> Items, Items -> Items (empty: received).

Unknown fields are ignored (``docs/adr/0003``); orders inside envelopes are stricter.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, FaultDomain, HostName

__all__ = [
    "BUCKETS",
    "Ack",
    "Diff",
    "Exchange",
    "Have",
    "Item",
    "ItemVersion",
    "Items",
    "Member",
    "MemberRumour",
    "Message",
    "Nack",
    "Offer",
    "Packet",
    "Ping",
    "PingRequest",
    "Rumour",
    "Status",
]

# Enough to narrow a difference to 1/16 of the state, few enough to fit a datagram (144 bytes).
BUCKETS = 16
# A host refutes a few times a day; the bound keeps "one more" inside 64 bits for ever.
INCARNATION_MAX = 2**48

# An insider names it, and sockets of this host are pointed at it: the IPv4 address of one machine
# in its one spelling.  A name would be resolved, and a resolver is one more party to believe.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FIRST_OCTET = "(?:22[0-3]|2[01][0-9]|1[0-9][0-9]|[1-9][0-9]?)"  # neither 0.0.0.0 nor multicast

_Address = Annotated[str, msgspec.Meta(pattern=rf"\A{_FIRST_OCTET}(?:\.{_OCTET}){{3}}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Incarnation = Annotated[int, msgspec.Meta(ge=0, le=INCARNATION_MAX)]
_Bucket = Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)]

ItemVersion = tuple[_Count, _Count]
"""Larger is newer.  One writer per key decides what the two numbers are."""
Summary = Annotated[tuple[_Count, ...], msgspec.Meta(min_length=BUCKETS, max_length=BUCKETS)]
"""One 64-bit hash per bucket of keys; equal summaries mean equal states."""


class Item(msgspec.Struct, frozen=True, array_like=True, tag="item"):
    """One register of a cell's state: the newest sealed message under *key*, byte for byte."""

    key: str
    version: ItemVersion
    envelope: bytes


class Have(msgspec.Struct, frozen=True, array_like=True, tag="have"):
    """I hold this item, too large for a datagram; pull it from me by stream."""

    key: str
    version: ItemVersion


class Status(IntEnum):
    """What membership believes of a host.  At equal incarnation the larger value wins."""

    ALIVE = 0
    SUSPECT = 1
    UNREACHABLE = 2  # suspicion ran out; a state, never a removal
    LEFT = 3  # it said so itself


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A host as its cell sees it.  Only the host itself raises its ``incarnation``."""

    name: HostName
    address: _Address
    gossip_port: _Port
    swarm_port: _Port
    fault_domain: FaultDomain
    incarnation: _Incarnation = 0
    status: Status = Status.ALIVE


class MemberRumour(msgspec.Struct, frozen=True, array_like=True, tag="member"):
    """Somebody's belief about *member*; *accuser* is who suspects it, empty otherwise."""

    member: Member
    accuser: HostName = HostName("")


Rumour = Item | Have | MemberRumour


class Ping(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """Are you *target* and alive?  Answer Ack with the same token."""

    token: int
    target: HostName


class PingRequest(msgspec.Struct, frozen=True, array_like=True, tag="ping-request"):
    """Ping *target*, which sits at this address, for me.  Answer Ack, or Nack if it is silent."""

    token: int
    target: HostName
    address: _Address
    gossip_port: _Port


class Ack(msgspec.Struct, frozen=True, array_like=True, tag="ack"):
    """The host that was pinged under *token* answered."""

    token: int


class Nack(msgspec.Struct, frozen=True, array_like=True, tag="nack"):
    """I am well and did ping for you, but had no answer."""

    token: int


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """This is my state in short.  If yours differs, open a stream to me with a Diff.

    ``members`` is the hash of my membership table; 0 from a replica that has none.
    """

    summary: Summary
    members: _Count = 0


class Diff(msgspec.Struct, frozen=True, array_like=True, tag="diff"):
    """These buckets differ; this is all I hold in them, and my membership if that differs."""

    buckets: tuple[_Bucket, ...]
    versions: tuple[tuple[str, ItemVersion], ...]
    members: tuple[Member, ...] = ()


class Exchange(msgspec.Struct, frozen=True, array_like=True, tag="exchange"):
    """Items that you lack (as many as one frame should hold), and keys that I lack."""

    items: tuple[Item, ...]
    wants: tuple[str, ...]
    members: tuple[Member, ...] = ()


class Items(msgspec.Struct, frozen=True, array_like=True, tag="items"):
    """The items that were asked for, as far as I hold them; empty: received, thank you."""

    items: tuple[Item, ...]


Message = Ping | PingRequest | Ack | Nack | Offer | Diff | Exchange | Items


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """One datagram, or one direction of a stream."""

    cell: CellId
    sender: HostName
    message: Message | None = None
    rumours: tuple[Rumour, ...] = ()
