"""What one host had of a release at any moment of the last seconds (pure).

Hosts speak when they ask for pieces, which may be seconds apart.  Between two words the bytes are
taken to have come evenly, so a curve through many hosts does not lag behind what happened.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Trail"]

WORDS_MAX = 16  # one a second for longer than the curve waits for words


class Trail:
    """Words of one host, oldest first: when, and how much it had.

    Args:
        began_at: When it had *had_bytes*; seconds since the epoch, as everywhere here.
        had_bytes: At the beginning.
    """

    def __init__(self, began_at: float, had_bytes: int) -> None:
        self._words: deque[tuple[float, int]] = deque([(began_at, had_bytes)], maxlen=WORDS_MAX)

    def note(self, at: float, have_bytes: int) -> None:
        """Take in a word; one that is older or tells of less than the last changes nothing."""
        last_at, last_bytes = self._words[-1]
        if at > last_at and have_bytes >= last_bytes:
            self._words.append((at, have_bytes))

    def have_bytes(self, at: float) -> float:
        """What it had then; the first word before its time, the last one after."""
        before = self._words[0]
        for word in self._words:
            if word[0] >= at:
                return _between(before, word, at)
            before = word
        return before[1]


def _between(before: tuple[float, int], after: tuple[float, int], at: float) -> float:
    span_s = after[0] - before[0]
    if span_s <= 0:
        return after[1] if before is not after else before[1]
    return before[1] + (after[1] - before[1]) * (at - before[0]) / span_s
