"""What becomes of a deal of which some pieces are here in part, without libtorrent."""

from __future__ import annotations

from typing import cast

import pytest

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import Deal, DealReply, DealRequest, DealtPiece, GapReply, GapRequest
from p2pdeploy.swarm.dealer_client import ReleaseKey
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.take_deals import DealTaker
from p2pdeploy.swarm.torrent import Torrent

KEY = ReleaseKey(cell=CellId("lab.web.c0"), manifest_digest=Digest("00" * 32), host=HostName("h01"))
PIECES = [bytes([number]) * 100 for number in range(4)]
DEAL = Deal(pieces=(DealtPiece(1, 100), DealtPiece(2, 100)))
GAP = (10, 20)  # of each of the two


class Pieces:
    """The part of a torrent that deals are given to."""

    piece_count = len(PIECES)

    def __init__(self) -> None:
        self.given: dict[int, int] = {}  # piece -> bytes that were sent for it

    def has(self, piece: int) -> bool:
        return piece in self.given

    def add_piece(self, piece: int, data: bytes, sent_bytes: int | None = None) -> None:
        assert data == PIECES[piece]
        self.given[piece] = len(data) if sent_bytes is None else sent_bytes


class Origin:
    """Sends the gaps of all pieces but those it refuses."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused

    async def deal(self, request: DealRequest) -> tuple[DealReply, bytes]:
        raise AssertionError("nothing is drawn here")

    async def fill(self, request: GapRequest) -> tuple[GapReply, bytes]:
        gaps = [gap for gap in request.gaps if gap.piece not in self.refused]
        data = b"".join(PIECES[gap.piece][gap.start : gap.end] for gap in gaps)
        return GapReply(refused=self.refused), data


class Bench:
    def __init__(self, *refused: int) -> None:
        def with_gap(piece: int) -> bytes:
            return PIECES[piece][: GAP[0]] + bytes(10) + PIECES[piece][GAP[1] :]

        self.torrent, self.pace = Pieces(), DealPace(0.0, 0.0)
        self.partly = PartlyHere({1: [GAP], 2: [GAP]}, with_gap)
        self.taker = DealTaker(
            cast(Torrent, self.torrent),
            Origin(*refused),
            KEY,
            lambda piece, data: data == PIECES[piece],
            self.partly,
            self.pace,
            timeout_s=1.0,
        )


async def test_a_piece_that_came_from_a_neighbour_does_not_cost_the_others_of_its_deal():
    bench = Bench(1)
    bench.torrent.given[1] = 0  # meanwhile
    taken = await bench.taker.take(DEAL, b"", 0b110)
    assert (taken.pieces, taken.dropped) == ([2], [])
    assert bench.torrent.given[2] == 10
    assert bench.partly.bits == 0b110


async def test_a_piece_whose_gaps_are_refused_and_that_is_not_here_is_drawn_whole():
    bench = Bench(1)
    taken = await bench.taker.take(DEAL, b"", 0b110)
    assert (taken.pieces, taken.dropped) == ([2], [1])
    assert bench.partly.bits == 0b100


@pytest.mark.parametrize(("refused", "size_bytes"), [((), 20), ((1,), 10)])
async def test_the_bytes_of_gaps_count_among_those_that_were_dealt(
    refused: tuple[int, ...], size_bytes: int
):
    bench = Bench(*refused)
    await bench.taker.take(DEAL, b"", 0b110)
    assert bench.pace.dealt_bytes == size_bytes
