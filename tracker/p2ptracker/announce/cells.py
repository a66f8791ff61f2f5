"""One table of swarms for each cell: none learns of another's peers, none fills another's table
(pure core).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2ptracker.announce.swarms import Swarms, SwarmsConfig

if TYPE_CHECKING:
    from random import Random

__all__ = ["CellSwarms"]


class CellSwarms:
    """Swarms by cell.

    Args:
        config: Limits of each cell's table.
        rng: Chooses whom to name; seeded in tests.
    """

    def __init__(self, config: SwarmsConfig, rng: Random) -> None:
        self.config = config
        self._rng = rng
        self._cells: dict[str, Swarms] = {}

    def __repr__(self) -> str:
        return f"<CellSwarms of {len(self._cells)} cells, {self.peer_count} peers>"

    @property
    def peer_count(self) -> int:
        return sum(swarms.peer_count for swarms in self._cells.values())

    def of(self, cell: str) -> Swarms:
        """The table of *cell*, which is one of the inventory's: the caller has seen to that."""
        swarms = self._cells.get(cell)
        if swarms is None:
            swarms = self._cells[cell] = Swarms(self.config, self._rng)
        return swarms
