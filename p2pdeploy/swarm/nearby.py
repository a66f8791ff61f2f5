"""What the connected neighbours of one torrent have of the pieces that are lacking here."""

from __future__ import annotations

import trio

from p2pdeploy.swarm.holdings import bits_of
from p2pdeploy.swarm.stripes import ALL_STRIPES, pieces_of
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["Nearby"]


class Nearby:
    """Judges one torrent's neighbours by libtorrent's word on them, about a second old."""

    def __init__(self, torrent: Torrent) -> None:
        self._torrent = torrent
        self._absent_since: dict[int, float] = {}  # piece -> when no neighbour had it first
        self._judged_at, self._have_all = -1.0, False  # the answer, and of which word
        self._absent_count = torrent.piece_count  # pieces that are neither here nor near
        self._progress_at = trio.current_time()  # when a piece came here or to a neighbour last

    def note_absent(self, now: float, *, exhausted: bool) -> None:
        """Remember since when no neighbour has had each piece we lack.

        Args:
            now: trio's clock.
            exhausted: Whether the dealer had nothing new; before that a piece that is with nobody
                is not lost, just undealt.
        """
        absent = self._lacking() & ~self._torrent.near
        self._note_progress(absent.bit_count(), now)
        if not exhausted or self._torrent.availability_at < 0:
            self._absent_since.clear()
            return
        self._absent_since = {
            piece: self._absent_since.get(piece, now) for piece in bits_of(absent)
        }

    def _note_progress(self, absent_count: int, now: float) -> None:
        if absent_count < self._absent_count:
            self._progress_at = now
        self._absent_count = absent_count

    def _lacking(self) -> int:
        return pieces_of(ALL_STRIPES, self._torrent.piece_count) & ~self._torrent.have()

    def is_stalled(self, long_ago: float) -> bool:
        """Whether pieces are with nobody near, and none has come near since *long_ago*."""
        return self._absent_count > 0 and self._progress_at < long_ago

    def is_absent(self, piece: int) -> bool:
        """Whether *piece* was with nobody near when that was last noted."""
        return piece in self._absent_since

    def absent_since(self, long_ago: float) -> list[int]:
        """The pieces we lack that nobody near has had since *long_ago* or longer.

        None while others still come near: these are on their way as well.
        """
        if self._progress_at > long_ago:
            return []
        return [
            piece
            for piece, since in self._absent_since.items()
            if since <= long_ago and not self._torrent.has(piece)
        ]

    def have_all(self) -> bool:
        """Whether the neighbours have all that we lack; judged once per word from them."""
        torrent = self._torrent
        if torrent.availability_at != self._judged_at:
            self._judged_at = torrent.availability_at
            self._have_all = not self._lacking() & ~torrent.near
        return self._have_all
