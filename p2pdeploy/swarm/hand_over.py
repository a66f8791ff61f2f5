"""Which pieces one torrent hands to the other next: few at a time, none twice in vain (pure)."""

from __future__ import annotations

__all__ = ["HandOver"]

# What is handed in waits in libtorrent's memory until it is hashed and written; this much keeps
# two hashing threads busy.
BYTES_MAX = 4 * 1024 * 1024
PIECES_MIN = 2  # of the largest pieces one is read while the other is hashed
# A piece that was given is hashed within milliseconds; after this long it was lost to a fault.
GIVE_AGAIN_S = 5.0
READ_AGAIN_S = 0.2  # a piece is told as finished shortly before the disk shows it


class HandOver:
    """Remembers what was handed over and has not arrived.

    Args:
        piece_bytes: About the size of one.
    """

    def __init__(self, piece_bytes: int) -> None:
        self._pieces_max = max(PIECES_MIN, BYTES_MAX // max(piece_bytes, 1))
        self._given_at: dict[int, float] = {}  # at most _pieces_max

    def __repr__(self) -> str:
        return f"<HandOver {len(self._given_at)}/{self._pieces_max} pieces under way>"

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be handed over until something has arrived."""
        return len(self._given_at) >= self._pieces_max

    def due(self, lacking: int, now: float) -> list[int]:
        """The pieces to hand over now, which counts as done.

        Args:
            lacking: What one has and the other has not, bit k for piece k.
            now: Seconds of a clock that only rises.
        """
        self._given_at = {
            piece: given_at
            for piece, given_at in self._given_at.items()
            if lacking >> piece & 1 and now - given_at <= GIVE_AGAIN_S
        }
        for piece in self._given_at:
            lacking ^= 1 << piece
        due: list[int] = []
        while lacking and not self.is_full:
            piece = (lacking & -lacking).bit_length() - 1
            lacking ^= 1 << piece
            self._given_at[piece] = now
            due.append(piece)
        return due

    def note_unread(self, piece: int, now: float) -> None:
        """*piece* was due, and the disk does not show it yet."""
        self._given_at[piece] = now - GIVE_AGAIN_S + READ_AGAIN_S
