"""Which pieces come into each cell from the others, and which stripes do not (pure core).

Cells of one target exchange pieces over the trunk, stripe by stripe.  A cell that lacks pieces of a
stripe which other cells hold, and into which none of these has come for a while, is *cut off* from
them in that stripe: the link is down, or the gateway of either side is dead or lies.

Sets of pieces are bitsets (:mod:`.holdings`), times monotonic seconds.  With one cell nothing costs
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.swarm.holdings import without
from p2pdeploy.swarm.stripes import STRIPES, pieces_of

__all__ = ["Crossings"]


class _Cell:
    """What the hosts of one cell have, and since when it waits for more."""

    __slots__ = ("dealt", "have", "looked_at", "waits_since")

    def __init__(self, now: float) -> None:
        self.have = 0
        self.dealt = 0  # pieces that the origin sent here: they did not cross
        self.looked_at = now
        self.waits_since = [now] * STRIPES


class Crossings:
    """What each cell has, and since when it waits for what others have.

    Args:
        piece_count: Of the release.
        quiet_s: After this long without a word from a cell its waiting begins anew: it asked for
            nothing, so nothing came.
    """

    def __init__(self, piece_count: int, quiet_s: float) -> None:
        self._stripes = [pieces_of(1 << stripe, piece_count) for stripe in range(STRIPES)]
        self._quiet_s = quiet_s
        self._cells: dict[CellId, _Cell] = {}
        self._shrunk: set[CellId] = set()  # of which a host has less than before
        self._again = 0  # sent by the origin to one cell while another held them

    def __repr__(self) -> str:
        return f"<Crossings of {len(self._cells)} cells>"

    def note(self, cell: CellId, have: int, held: int, now: float) -> None:
        """A host of *cell* told that it has *have*, when *held* was held anywhere."""
        here = self._cells.get(cell)
        if here is None:
            here = self._cells[cell] = _Cell(now)
        if len(self._cells) > 1:
            self._look(here, have, held, now)
        here.have |= have

    def _look(self, here: _Cell, have: int, held: int, now: float) -> None:
        """Wait on for stripes of which something is elsewhere and nothing has come."""
        was_quiet = now - here.looked_at > self._quiet_s
        here.looked_at = now
        # That what was dealt here or again has come says nothing of the links to the rest.
        crossed = without(have & held, here.have | here.dealt | self._again)
        lacked = without(held, here.have | have)
        for stripe, pieces in enumerate(self._stripes):
            if was_quiet or crossed & pieces or not lacked & pieces:
                here.waits_since[stripe] = now

    def note_dealt(self, cell: CellId, pieces: int, held: int) -> None:
        """The origin sends *pieces* to *cell*, which was noted before, when *held* was held."""
        self._cells[cell].dealt |= pieces
        self._again |= pieces & held

    def note_loss(self, cell: CellId) -> None:
        """A host of *cell* has less than before: :meth:`recount` is due."""
        self._shrunk.add(cell)

    def recount(
        self,
        names_in: Callable[[Container[CellId]], Iterable[tuple[HostName, CellId]]],
        have: Callable[[HostName], int],
    ) -> None:
        """Find out what is left in cells that lost something.

        Args:
            names_in: The hosts of some cells.
            have: What a host has.
        """
        if not self._shrunk:
            return
        left = dict.fromkeys(self._shrunk & self._cells.keys(), 0)
        for name, cell in names_in(left):
            left[cell] |= have(name)
        for cell, pieces in left.items():
            self._cells[cell].have = pieces
        self._shrunk.clear()

    def elsewhere(self, cell: CellId, held: int) -> int:
        """What of *held* other cells have and this one lacks."""
        return without(held, self._cells[cell].have) if len(self._cells) > 1 else 0

    def cut_off(self, cell: CellId, held: int, now: float, patience_s: float) -> int:
        """The pieces of :meth:`elsewhere` in whose stripe nothing has come for *patience_s*."""
        lacked = self.elsewhere(cell, held)
        if not lacked:
            return 0
        waited = 0
        for pieces, since in zip(self._stripes, self._cells[cell].waits_since, strict=True):
            if now - since > patience_s:
                waited |= pieces & lacked
        return waited
