"""Which rumours ride in the next datagram.

ABORT first, then GO, other orders, who is alive, who is suspected, attestations; among equals
the one told least often, then the newest.  Alive stands before suspect so that a wave of
accusations can't drown the refutations.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.gossip.state import urgency_of
from p2pdeploy.messages.gossip import Have, Item, MemberRumour, Rumour, Status

__all__ = ["RumourQueue", "rumour_of"]

# A rumour that fills a datagram alone would displace everything else; larger items are pulled.
INLINE_BYTES_MAX = 1_000
# One rollout step of a whole cell (1,000 attestations) several times over; memberlist: 4,096.
RUMOURS_MAX = 4_096
# No rumour is smaller, so less room than this need not be searched.
RUMOUR_BYTES_MIN = 16
# Rumours too large for the room left that are stepped over before the datagram goes as it is.
SKIPS_MAX = 16

_ALIVE_RANK = 3
_SUSPECT_RANK = 4
_ATTESTATION_RANK = 5

_Place = tuple[int, int, int, str]  # rank, transmits, minus age, key: the smallest goes first


class _Entry(msgspec.Struct):
    rumour: Rumour
    size_bytes: int
    place: _Place


def rumour_of(item: Item) -> Item | Have:
    """*item* itself if it fits into a datagram beside others, else word of where to pull it."""
    fits = len(item.envelope) + len(item.key) <= INLINE_BYTES_MAX
    return item if fits else Have(item.key, item.version)


class RumourQueue:
    """At most ``RUMOURS_MAX`` rumours, one per subject; the newer invalidates the older."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._order: list[_Place] = []
        self._age = 0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, rumour: Rumour) -> None:
        """Tell *rumour* from now on, instead of what was told of the same subject.

        When full, the least urgent and most often told rumour makes room.
        """
        key, rank = _subject_of(rumour)
        if key in self._entries:
            self._drop(key)
        self._age += 1
        self._insert(_Entry(rumour, len(encode(rumour)), (rank, 0, -self._age, key)))
        if len(self._entries) > RUMOURS_MAX:
            self._drop(self._order[-1][3])

    def forget(self, key: str) -> None:
        """Tell nothing more of the item under *key*."""
        if key in self._entries:
            self._drop(key)

    def take(self, room_bytes: int, transmits_max: int) -> tuple[Rumour, ...]:
        """The next rumours that fit into *room_bytes*; counts one transmission of each."""
        chosen: list[_Entry] = []
        skips = 0
        for place in self._order:
            if room_bytes < RUMOUR_BYTES_MIN or skips == SKIPS_MAX:
                break
            entry = self._entries[place[3]]
            if entry.size_bytes > room_bytes:
                skips += 1
                continue
            room_bytes -= entry.size_bytes
            chosen.append(entry)
        for entry in chosen:
            self._count_transmit(entry, transmits_max)
        return tuple(entry.rumour for entry in chosen)

    def _count_transmit(self, entry: _Entry, transmits_max: int) -> None:
        rank, transmits, age, key = entry.place
        self._drop(key)
        if transmits + 1 < transmits_max:
            entry.place = (rank, transmits + 1, age, key)
            self._insert(entry)

    def _insert(self, entry: _Entry) -> None:
        self._entries[entry.place[3]] = entry
        insort(self._order, entry.place)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        del self._order[bisect_left(self._order, entry.place)]


def _subject_of(rumour: Rumour) -> tuple[str, int]:
    if isinstance(rumour, MemberRumour):
        alive = rumour.member.status is Status.ALIVE
        return f"member/{rumour.member.name}", _ALIVE_RANK if alive else _SUSPECT_RANK
    urgency = urgency_of(rumour.key)
    return rumour.key, urgency if urgency < _ALIVE_RANK else _ATTESTATION_RANK
