"""Which open dealers make room for another one (pure).

A dealer's state is soft: whoever draws from one that was dropped tells the next one.  But that
costs time, so nobody may have dealers of others dropped by opening many of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from p2pdeploy.ids import Digest

__all__ = ["DealerKey", "OpenDealer", "dealers_to_drop"]

DealerKey = tuple[Digest, str]
"""What is dealt, and the target whose hosts draw it."""


class OpenDealer(msgspec.Struct, frozen=True):
    """One that is open, and when a host asked it last."""

    key: DealerKey
    used_at: float


def dealers_to_drop(
    open_dealers: Sequence[OpenDealer], target: str, *, open_max: int, idle_since: float
) -> list[DealerKey]:
    """The keys of those that make room for one more of *target*'s.

    Args:
        open_dealers: All of them.
        target: Whose the new one is.
        open_max: How many there may be, the new one included.
        idle_since: Who was used no later than this is dropped anyway.

    Returns:
        Those that are idle; and as long as that is not enough, of the target with the most, the new
        one counted, the one that was used longest ago.
    """
    dropped = [each.key for each in open_dealers if each.used_at <= idle_since]
    left = sorted((e for e in open_dealers if e.used_at > idle_since), key=lambda e: e.used_at)
    while len(left) >= open_max:
        counts = Counter([target, *(each.key[1] for each in left)])
        most = max(counts[each.key[1]] for each in left)
        gone = next(each for each in left if counts[each.key[1]] == most)
        left.remove(gone)
        dropped.append(gone.key)
    return dropped
