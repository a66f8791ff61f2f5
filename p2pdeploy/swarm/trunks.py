"""Trunks: the links over which one stripe goes from group to group (pure core, over integers).

Inside a cell the carriers of a stripe, one of each group, are linked with each other.  One of them
is the stripe's *gateway*: it alone is linked with the gateways of the same stripe in other cells.
So each piece comes into each group and into each cell once.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdeploy.swarm.stripes import STRIPES, score

__all__ = ["TRUNK_DEGREE", "gateways_of", "linked_with", "trunk_links"]

# Simulated with 8 gateways in each cell: 4 links each are within a tenth of the limit at 3 million
# hosts; 16 are worse (1.8), because they take uplink from the cell.
TRUNK_DEGREE = 4

_GATEWAY_SALT = STRIPES  # beyond the salts that choose carriers
_RING_SALT = 2 * STRIPES


def gateways_of(carriers: Sequence[int], stripe: int, count: int = 1) -> list[int]:
    """The gateway of *stripe* in a cell, and who follows when it dies.

    Args:
        carriers: The key of the stripe's carrier in each group of the cell.
        stripe: Its number.
        count: How many to name; fewer come back when there are not as many.

    Returns:
        Indexes into *carriers*, the gateway first.
    """
    salt = _GATEWAY_SALT + stripe
    best = sorted(range(len(carriers)), key=lambda index: (-score(carriers[index], salt), index))
    return best[:count]


def trunk_links(keys: Sequence[int], stripe: int) -> list[tuple[int, int]]:
    """Who is linked with whom among *keys* (carriers of a cell, or cells): connected, symmetric.

    Args:
        keys: All different.  Everybody who asks must pass the same in whatever order.
        stripe: Whose trunk; each has rings of its own, so that no host is next to the same others
            in all of them.

    Returns:
        Pairs of indexes, the smaller first, each once, in order.  No index has more than
        ``TRUNK_DEGREE`` links; up to ``TRUNK_DEGREE + 1`` keys are all linked with each other.
    """
    count = len(keys)
    if count <= TRUNK_DEGREE + 1:
        return [(low, high) for low in range(count) for high in range(low + 1, count)]
    links: set[tuple[int, int]] = set()
    for number in range(TRUNK_DEGREE // 2):
        salt = _RING_SALT + stripe + STRIPES * number
        ring = sorted(range(count), key=lambda index: (score(keys[index], salt), keys[index]))
        for position, index in enumerate(ring):
            other = ring[position - 1]
            links.add((min(index, other), max(index, other)))
    return sorted(links)


def linked_with(keys: Sequence[int], stripe: int, index: int) -> list[int]:
    """The indexes that :func:`trunk_links` links with *index*, in order."""
    found = [low + high - index for low, high in trunk_links(keys, stripe) if index in (low, high)]
    return sorted(found)
