"""Which host has which piece, with counts kept as bitmaps change (pure core).

A set of pieces is one Python integer, bit *k* for piece *k*; a *bitset*.  How many hosts have each
piece is kept in bit planes: bit *k* of plane *i* is bit *i* of the count of piece *k*.  So a bitmap
is taken in by additions of whole bitsets, some microseconds for 262,144 pieces, and nothing is
done piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import HostName

__all__ = [
    "Change",
    "Holdings",
    "bitmap_has",
    "bits_of",
    "bitset_of",
    "rising",
    "without",
]

# Turns "first piece in the highest bit" into "piece k is bit k" byte by byte.
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SOME = re.compile(rb"[^\0]")


class Change(msgspec.Struct, frozen=True):
    """Bitsets: pieces this host gained, and pieces that nobody has any more."""

    gained: int
    orphaned: int


class Holdings:
    """The bitsets of hosts and, per piece, how many hosts have it.

    ``held`` are the pieces that some host has.  ``planted`` are those that two hosts have reported
    at a time: the death of any one host cannot have lost them.  They stay planted.
    """

    def __init__(self) -> None:
        self._have: dict[HostName, int] = {}
        self._planes: list[int] = []  # as many as the number of hosts has digits
        self.held = 0
        self.planted = 0

    def count(self, piece: int) -> int:
        """How many hosts have *piece* now."""
        return sum((plane >> piece & 1) << index for index, plane in enumerate(self._planes))

    def has(self, host: HostName, piece: int) -> bool:
        return bool(self._have.get(host, 0) >> piece & 1)

    def of(self, host: HostName) -> int:
        """All that *host* has."""
        return self._have.get(host, 0)

    def takes_back(self, host: HostName, have: int) -> bool:
        """Whether *host* reported more before than *have*."""
        return bool(without(self._have.get(host, 0), have))

    def replace(self, host: HostName, have: int) -> Change:
        """Take *have* as all that *host* has; 0 forgets the host."""
        before = self._have.get(host, 0)
        if have:
            self._have[host] = have
        else:
            self._have.pop(host, None)
        gained, gone = without(have, before), without(before, have)
        self._count(gained)
        return Change(gained, self._discount(gone) if gone else 0)

    def add(self, host: HostName, have: int) -> Change:
        """Take *have* as pieces that *host* has besides those it reported before."""
        return self.replace(host, self._have.get(host, 0) | have)

    def _count(self, gained: int) -> None:
        self.planted |= self.held & gained
        self.held |= gained
        for index, plane in enumerate(self._planes):
            if not gained:
                return
            self._planes[index], gained = plane ^ gained, plane & gained
        if gained:
            self._planes.append(gained)

    def _discount(self, gone: int) -> int:
        """Returns those that nobody has any more."""
        borrowed = gone
        for index, plane in enumerate(self._planes):
            if not borrowed:
                break
            self._planes[index] = plane ^ borrowed
            borrowed &= self._planes[index]
        assert not borrowed, "no count falls below zero"
        for plane in self._planes:
            gone = without(gone, plane)
        self.held ^= gone
        return gone


def without(bitset: int, others: int) -> int:
    """The pieces of *bitset* that are not in *others*."""
    return bitset ^ (bitset & others)  # `& ~others` would make a negative integer first


def bitset_of(bitmap: bytes, piece_count: int) -> int:
    """Turn a wire bitmap into an integer with bit *k* for piece *k*.

    Raises:
        ProtocolError: the length is wrong or a spare bit is set.
    """
    if len(bitmap) != (piece_count + 7) // 8:
        raise ProtocolError(f"bitmap of {len(bitmap)} bytes for {piece_count} pieces")
    bitset = int.from_bytes(bitmap.translate(_MIRROR), "little")
    if bitset >> piece_count:
        raise ProtocolError("bitmap has a spare bit set")
    return bitset


def bitmap_has(bitmap: bytes, piece: int) -> bool:
    """Whether *piece* stands in a wire bitmap, which has a bit for it."""
    return bool(bitmap[piece >> 3] & 0x80 >> (piece & 7))


def rising(bitset: int) -> Iterator[int]:
    """The numbers of the set bits in rising order; each costs an operation on the whole bitset."""
    while bitset:
        low = bitset & -bitset
        yield low.bit_length() - 1
        bitset ^= low


def bits_of(bitset: int) -> list[int]:
    """The numbers of the set bits in rising order; costs Python's time for the set bits alone."""
    found: list[int] = []
    data = bitset.to_bytes((bitset.bit_length() + 7) // 8, "little")
    for match in _SOME.finditer(data):
        first, byte = match.start() * 8, data[match.start()]
        while byte:
            low = byte & -byte
            found.append(first + low.bit_length() - 1)
            byte ^= low
    return found
