"""Which host has which piece, with counts kept as bitmaps change (pure core).

A bitmap lives as one Python integer, bit *k* for piece *k*: comparing two costs a few
microseconds, and only pieces that changed are touched one by one.
"""

from __future__ import annotations

from array import array

import msgspec

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import HostName

__all__ = ["Change", "Holdings", "bits_of", "bitset_of"]

# Turns "first piece in the highest bit" into "piece k is bit k" byte by byte.
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

PLANTED_HOSTS = 2  # the death of any one host cannot lose a piece that two have


class Change(msgspec.Struct, frozen=True):
    """What a new bitmap brought: pieces this host gained, and pieces that nobody has any more."""

    gained: list[int]
    orphaned: list[int]


class Holdings:
    """The bitmaps of a cell's hosts and, per piece, how many hosts have it."""

    def __init__(self, piece_count: int) -> None:
        self._have: dict[HostName, int] = {}
        self._counts = array("H", bytes(2 * piece_count))
        self._planted = bytearray(piece_count)  # 1 once two hosts have reported it; stays
        self.planted_count = 0
        self.held_count = 0  # pieces that at least one host has

    def count(self, piece: int) -> int:
        """How many hosts have *piece* now."""
        return self._counts[piece]

    def has(self, host: HostName, piece: int) -> bool:
        return bool(self._have.get(host, 0) >> piece & 1)

    def is_dealable(self, piece: int) -> bool:
        """Nobody has it and it was never planted; a planted piece goes out by number only."""
        return not self._counts[piece] and not self._planted[piece]

    def replace(self, host: HostName, have: int) -> Change:
        """Take *have* (a bitset) as all that *host* has; 0 forgets the host."""
        before = self._have.get(host, 0)
        if have:
            self._have[host] = have
        else:
            self._have.pop(host, None)
        gained = bits_of(have & ~before)
        for piece in gained:
            self._add(piece)
        orphaned = [piece for piece in bits_of(before & ~have) if self._subtract(piece)]
        return Change(gained, orphaned)

    def add(self, host: HostName, have: int) -> Change:
        """Take *have* as pieces that *host* has besides those it reported before."""
        return self.replace(host, self._have.get(host, 0) | have)

    def _add(self, piece: int) -> None:
        self._counts[piece] += 1
        if self._counts[piece] == 1:
            self.held_count += 1
        if self._counts[piece] == PLANTED_HOSTS and not self._planted[piece]:
            self._planted[piece] = 1
            self.planted_count += 1

    def _subtract(self, piece: int) -> bool:
        self._counts[piece] -= 1
        if self._counts[piece]:
            return False
        self.held_count -= 1
        return True


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


def bits_of(bitset: int) -> list[int]:
    """The numbers of the set bits in rising order; O(bytes of the bitset + set bits)."""
    found: list[int] = []
    if not bitset:
        return found
    for position, byte in enumerate(bitset.to_bytes((bitset.bit_length() + 7) // 8, "little")):
        while byte:
            low = byte & -byte
            found.append(position * 8 + low.bit_length() - 1)
            byte ^= low
    return found
