"""Sets of pieces as integers, bit k for piece k, made from lists and bitmaps and back (pure).

Each costs a few operations on all bytes at once: a release may have 262,144 pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["all_pieces", "bitmap_from", "bitset_of_flags", "bitset_of_pieces", "flags_of"]

_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_DIGITS = b"01"


def all_pieces(piece_count: int) -> int:
    """The pieces of a release of *piece_count*."""
    return (1 << piece_count) - 1


def bitset_of_flags(flags: Sequence[object]) -> int:
    """The pieces whose flag is true; the first flag is that of piece 0."""
    digits = bytes(map(bool, flags)).translate(_DIGITS + bytes(range(2, 256)))
    return int(digits[::-1], 2) if digits else 0


def flags_of(bitset: int, piece_count: int) -> list[bool]:
    """One truth value for each of the first *piece_count* pieces."""
    return [digit == "1" for digit in reversed(f"{bitset:0{piece_count}b}")]


def bitset_of_pieces(pieces: Iterable[int]) -> int:
    """The set of *pieces*, given by number."""
    found = bytearray()
    for piece in pieces:
        if piece >> 3 >= len(found):
            found += bytes((piece >> 3) + 1 - len(found))
        found[piece >> 3] |= 1 << (piece & 7)
    return int.from_bytes(found, "little")


def bitmap_from(bitset: int, piece_count: int) -> bytes:
    """The wire bitmap of a set: the first piece in the highest bit of the first byte."""
    return bitset.to_bytes((piece_count + 7) // 8, "little").translate(_MIRROR)
