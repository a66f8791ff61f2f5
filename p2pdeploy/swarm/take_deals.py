"""From a deal to verified pieces that are with libtorrent (shell).

Bytes of a whole piece came with the deal.  Of a piece that is here in part only its gaps are
asked for and laid over what is on the disk.  Either way nothing wrong goes any further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import trio

from p2pdeploy.errors import IntegrityError, P2PDeployError
from p2pdeploy.messages.deal import Deal, Gap, GapRequest
from p2pdeploy.swarm.dealer_client import DealerClient, ReleaseKey
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["DealTaker", "Taken"]

# Hashing this much takes a fifth of a millisecond, as long as the way to a thread and back.
INLINE_BYTES_MAX = 256 * 1024
_verifying = trio.CapacityLimiter(2)  # SHA-256 of one larger piece at a time per core


class Taken:
    """What became of one deal: pieces that are with libtorrent, others to be told as dropped.

    ``wrong``: the origin sent bytes that are not those of a piece.
    """

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.dropped: list[int] = []
        self.wrong = False


class DealTaker:
    """Takes the deals of one fetch.

    Args:
        torrent: What is fetched.
        dealer: The way to the origin.
        key: Who fetches what.
        verify_piece: Whether bytes are those of a piece.
        partly: What is here in part.
        pace: Is told of the bytes of gaps; of those that come with a deal it knows.
        timeout_s: For the gaps of one deal.
    """

    def __init__(
        self,
        torrent: Torrent,
        dealer: DealerClient,
        key: ReleaseKey,
        verify_piece: Callable[[int, bytes], bool],
        partly: PartlyHere,
        pace: DealPace,
        timeout_s: float,
    ) -> None:
        self._torrent = torrent
        self._dealer = dealer
        self._key = key
        self._verify_piece = verify_piece
        self._partly = partly
        self._pace = pace
        self._timeout_s = timeout_s

    async def take(self, deal: Deal, data: bytes, in_part: int) -> Taken:
        """Verify the pieces of *deal* and hand them to libtorrent.

        Args:
            deal: What was dealt.
            data: The bytes that came with it.
            in_part: Pieces that the request named as here in part, bit k for piece k: no bytes of
                them came.
        """
        taken = Taken()
        if len(data) == deal.size_bytes:
            in_part = 0  # a control plane that knows of no gaps sent everything
        parts = [d.piece for d in deal.pieces if d.piece >= 0 and in_part >> d.piece & 1]
        whole = [dealt for dealt in deal.pieces if dealt.piece not in parts]
        fits = len(data) == sum(dealt.size_bytes for dealt in whole)
        offset_bytes = 0
        for dealt in whole:
            part = data[offset_bytes : offset_bytes + dealt.size_bytes]
            offset_bytes += dealt.size_bytes
            if not 0 <= dealt.piece < self._torrent.piece_count:
                taken.wrong = True  # no piece of ours: the dealer would not know it either
            elif fits and await self._is_right(dealt.piece, part):
                self._torrent.add_piece(dealt.piece, part)
                taken.pieces.append(dealt.piece)
            else:
                taken.wrong = True
                taken.dropped.append(dealt.piece)
        await self._fill(parts, taken)
        return taken

    async def _fill(self, pieces: Sequence[int], taken: Taken) -> None:
        """Complete pieces that are here in part."""
        known = [piece for piece in pieces if piece in self._partly]
        taken.dropped += [piece for piece in pieces if piece not in known]  # forgotten meanwhile
        for gaps in self._partly.ask_for(known):
            answer = await self._ask(gaps)
            if answer is None:
                self._give_up({gap.piece for gap in gaps}, taken)
                continue
            refused, data = answer
            # A neighbour may have sent one meanwhile: then the origin knows, and it is here.
            self._give_up((piece for piece in refused if not self._torrent.has(piece)), taken)
            await self._complete([gap for gap in gaps if gap.piece not in refused], data, taken)

    def _give_up(self, pieces: Iterable[int], taken: Taken) -> None:
        """Draw *pieces* whole from now on: whatever went wrong, it ends there."""
        for piece in sorted(pieces):
            self._partly.forget(piece)
            taken.dropped.append(piece)

    async def _ask(self, gaps: list[Gap]) -> tuple[frozenset[int], bytes] | None:
        """Which pieces are refused, and the gaps of the others; None when these did not come."""
        request = GapRequest(
            cell=self._key.cell,
            manifest_digest=self._key.manifest_digest,
            host=self._key.host,
            gaps=tuple(gaps),
        )
        try:
            with trio.fail_after(self._timeout_s):
                reply, data = await self._dealer.fill(request)
        except (P2PDeployError, trio.TooSlowError):
            return None
        self._pace.note_dealt(len(data), trio.current_time())
        refused = frozenset(reply.refused)
        sizes = (gap.end - gap.start for gap in gaps if gap.piece not in refused)
        return (refused, data) if len(data) == sum(sizes) else None

    async def _complete(self, gaps: list[Gap], data: bytes, taken: Taken) -> None:
        try:
            joined = await trio.to_thread.run_sync(
                self._partly.join, gaps, data, limiter=_verifying
            )
        except (OSError, IntegrityError):  # what is here cannot be read: it is of no use
            joined = {gap.piece: b"" for gap in gaps}
        for piece, whole in joined.items():
            if await self._is_right(piece, whole):
                sent_bytes = sum(gap.end - gap.start for gap in gaps if gap.piece == piece)
                self._torrent.add_piece(piece, whole, sent_bytes=sent_bytes)
                taken.pieces.append(piece)
            else:  # whose fault it is cannot be told; the whole piece will show it
                self._give_up((piece,), taken)

    async def _is_right(self, piece: int, data: bytes) -> bool:
        if len(data) <= INLINE_BYTES_MAX:
            return self._verify_piece(piece, data)
        return await trio.to_thread.run_sync(self._verify_piece, piece, data, limiter=_verifying)
