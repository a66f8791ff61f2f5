"""Stripes: which host of a group brings in which pieces (pure core, over integers).

Piece k belongs to stripe k modulo ``STRIPES``, as in SplitStream (Castro et al., SOSP 2003).  In
each group one host *carries* each stripe: it alone exchanges these pieces with other groups, so
each piece comes into the group once.  Who carries what follows from the members by rendezvous
hashing (Thaler and Ravishankar, 1998), evenly, without a word exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = [
    "ALL_STRIPES",
    "STRIPES",
    "carriers_of",
    "key_of",
    "pieces_of",
    "ranks_of",
    "score",
    "stripe_of",
]

# Simulated at 3 million hosts: 4 carry enough, 8 leave room for the death of half of them.
STRIPES = 8
ALL_STRIPES = (1 << STRIPES) - 1  # a set of stripes is an integer, bit s for stripe s

assert STRIPES == 8  # pieces_of lays one byte of stripes beside the other

_MASK = (1 << 64) - 1


def key_of(name: str) -> int:
    """A host or cell as a number of 64 bits, the same everywhere."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def score(key: int, salt: int) -> int:
    """How well *key* suits *salt*: 64 bits that look random (the finalizer of SplitMix64)."""
    mixed = (key + (salt + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return mixed ^ mixed >> 31


def stripe_of(piece: int) -> int:
    """The stripe of piece number *piece*."""
    return piece % STRIPES


def pieces_of(stripes: int, piece_count: int) -> int:
    """The pieces of a set of stripes, bit k for piece k, of a release of *piece_count* pieces."""
    whole = int.from_bytes(bytes([stripes]) * (piece_count // STRIPES + 1), "little")
    return whole & ((1 << piece_count) - 1)


def ranks_of(key: int, others: Sequence[int]) -> list[int]:
    """By stripe, how many of *others* suit it better than *key*: whose turn to take it over."""
    return [
        sum(score(other, stripe) > score(key, stripe) for other in others)
        for stripe in range(STRIPES)
    ]


def carriers_of(keys: Sequence[int]) -> list[int]:
    """Who carries each stripe in a group.

    Args:
        keys: One for each host of the group, at least one, all different.

    Returns:
        By stripe, an index into *keys*.  No host carries more than one stripe more than another;
        when a host leaves, few stripes change hands besides its own.
    """
    fair = STRIPES // len(keys)
    pairs = sorted(
        (-score(key, stripe), key, index, stripe)
        for index, key in enumerate(keys)
        for stripe in range(STRIPES)
    )
    carriers = [-1] * STRIPES
    loads = [0] * len(keys)
    for load_max in (fair, fair + 1):  # everybody's fair part first, then what remains
        for _, _, index, stripe in pairs:
            if carriers[stripe] < 0 and loads[index] < load_max:
                carriers[stripe] = index
                loads[index] += 1
    return carriers
