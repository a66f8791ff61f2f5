"""What the connected neighbours of one torrent have of the pieces that are lacking here."""

from __future__ import annotations

from p2pdeploy.swarm.torrent import Torrent

__all__ = ["Nearby"]


class Nearby:
    """Judges one torrent's neighbours by libtorrent's word on them, about a second old."""

    def __init__(self, torrent: Torrent) -> None:
        self._torrent = torrent
        self._absent_since: dict[int, float] = {}  # piece -> when no neighbour had it first
        self._judged_at, self._have_all = -1.0, False  # the answer, and of which word

    def note_absent(self, now: float, *, exhausted: bool) -> None:
        """Remember since when no neighbour has had each piece we lack.

        Args:
            now: trio's clock.
            exhausted: Whether the dealer had nothing new; before that a piece that is with nobody
                is not lost, just undealt.
        """
        torrent = self._torrent
        if not exhausted or torrent.availability_at < 0:
            self._absent_since.clear()
            return
        for piece in range(torrent.piece_count):
            if torrent.has(piece) or torrent.peers_have(piece):
                self._absent_since.pop(piece, None)
            else:
                self._absent_since.setdefault(piece, now)

    def is_absent(self, piece: int) -> bool:
        """Whether *piece* was with nobody near when that was last noted."""
        return piece in self._absent_since

    def absent_since(self, long_ago: float) -> list[int]:
        """The pieces we lack that nobody near has had since *long_ago* or longer."""
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
            self._have_all = all(
                torrent.has(piece) or torrent.peers_have(piece)
                for piece in range(torrent.piece_count)
            )
        return self._have_all
