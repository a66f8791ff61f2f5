"""Which bytes of a blob are on the disk: ranges that never touch each other (pure)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

__all__ = ["Cover", "Range"]

Range = tuple[int, int]
"""From a first byte to the one after the last."""


class Cover:
    """Ranges of one blob.  Adding in rising order costs O(1), anywhere else O(ranges)."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __repr__(self) -> str:
        return f"<Cover {self.size_bytes} bytes in {len(self._starts)} ranges>"

    @property
    def size_bytes(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Cover ``start`` to ``end``; what was covered of it before is no matter."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)  # the first range that is touched
        after = bisect_right(self._starts, end)  # the first that is not, behind it
        if first < after:
            start = min(start, self._starts[first])
            end = max(end, self._ends[after - 1])
        self._starts[first:after] = [start]
        self._ends[first:after] = [end]

    def gaps(self, start: int, end: int) -> list[Range]:
        """What is not covered between *start* and *end*, in order."""
        found: list[Range] = []
        for number in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[number] >= end:
                break
            if self._starts[number] > start:
                found.append((start, self._starts[number]))
            start = self._ends[number]
        if start < end:
            found.append((start, end))
        return found
