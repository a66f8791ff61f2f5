"""What hosts ask the origin for that have something of a release: gaps and outlines."""

from __future__ import annotations

from base64 import b64decode

import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.deal import (
    DEAL_PIECES_MAX,
    GAP_REPLY_BYTES_MAX,
    DealRequest,
    Gap,
    GapReply,
    GapRequest,
    bitmap_of,
)
from p2pdeploy.messages.outline import (
    OUTLINE_REPLY_BYTES_MAX,
    ChunkPlace,
    OutlineReply,
    OutlineRequest,
)
from p2pdeploy.payload.outline import outline_of
from p2pdeploy.payload.torrent import piece_spans

CELL = CellId("lab.web.c0")


@pytest.fixture
async def built(tracker, payload):
    built = payload(large_bytes=2_000_000)
    await tracker.publish("1.0.0", built)
    return built


class Host:
    """A host with something of each piece."""

    def __init__(self, tracker, built, name: str = "h01") -> None:
        self.http = tracker.as_host(name)
        self.count = len(piece_spans(built.manifest))
        self.terms = {"cell": CELL, "manifest_digest": built.manifest_digest}
        self.host = HostName(name)

    async def deal(self, has: tuple[int, ...] = ()):
        request = DealRequest(
            **self.terms,
            host=self.host,
            have=bitmap_of([piece in has for piece in range(self.count)]),
            partly=bitmap_of([True] * self.count),
        )
        return await self.http.post("/v1/deal", content=encode(request))

    async def fill(self, *gaps: Gap, host: str = ""):
        name = HostName(host or self.host)
        request = GapRequest(**self.terms, host=name, gaps=gaps)
        return await self.http.post("/v1/deal/gaps", content=encode(request))

    async def outline(self, *chunks: ChunkPlace, host: str = ""):
        name = HostName(host or self.host)
        request = OutlineRequest(**self.terms, host=name, chunks=chunks)
        return await self.http.post("/v1/outlines", content=encode(request))


async def test_of_a_piece_that_is_here_in_part_only_the_gaps_are_sent(tracker, built) -> None:
    host = Host(tracker, built)
    answer = await host.deal()
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await host.fill(Gap(0, 5, 10), Gap(0, 100, 101))
    assert answer.status_code == 200, answer.text
    piece = built.sources.pread(*piece_spans(built.manifest)[0])
    assert answer.content == piece[5:10] + piece[100:101]
    dealt = await tracker.http.get("/v1/releases/hello/1.0.0/egress")
    assert dealt.json()["dealt_bytes"] == 6, "and nothing else counts"


async def test_gaps_of_a_piece_that_was_not_dealt_are_refused(tracker, built) -> None:
    host, other = Host(tracker, built), Host(tracker, built, "h02")
    await other.deal()
    answer = await host.fill(Gap(0, 5, 10))
    assert answer.status_code == 409
    assert "not-dealt" in answer.text


async def test_a_piece_that_is_here_by_now_costs_only_its_own_gaps(tracker, built) -> None:
    host = Host(tracker, built)
    for _ in range(2):
        await host.deal()
    await host.deal(has=(0,))
    answer = await host.fill(Gap(0, 5, 10), Gap(1, 0, 3))
    assert answer.status_code == 200, answer.text
    reply = decode(b64decode(answer.headers["X-Gaps"]), GapReply, bytes_max=GAP_REPLY_BYTES_MAX)
    assert reply == GapReply(refused=(0,))
    assert answer.content == built.sources.pread(*piece_spans(built.manifest)[1])[:3]


async def test_gaps_of_more_pieces_than_a_deal_has_are_refused(tracker, built) -> None:
    host = Host(tracker, built)
    await host.deal()
    gaps = [Gap(piece, 0, 1) for piece in range(DEAL_PIECES_MAX + 1)]
    assert (await host.fill(*gaps)).status_code == 400


async def test_a_host_asks_for_outlines_one_request_at_a_time(tracker, built) -> None:
    outliner = tracker.plane.origin._outliner
    with outliner._one_of(HostName("h01")):
        answer = await Host(tracker, built).outline(ChunkPlace(0, 0, 3_000))
        assert (answer.status_code, "outlining" in answer.text) == (503, True)
        assert (await Host(tracker, built, "h02").outline(ChunkPlace(0, 0, 9))).status_code == 200
    assert (await Host(tracker, built).outline(ChunkPlace(0, 0, 3_000))).status_code == 200


@pytest.mark.parametrize(
    "gaps",
    [
        [Gap(0, 10, 10)],
        [Gap(0, 0, 1 << 30)],
        [Gap(200_000, 0, 1)],
        [Gap(0, 5, 10), Gap(0, 9, 12)],
        [Gap(0, 0, 9)] * 1_000,
    ],
)
async def test_gaps_that_are_none_are_refused(tracker, built, gaps: list[Gap]) -> None:
    host = Host(tracker, built)
    await host.deal()
    assert (await host.fill(*gaps)).status_code == 400


async def test_no_host_asks_in_the_name_of_another(tracker, built) -> None:
    host = Host(tracker, built)
    await host.deal()
    assert (await host.fill(Gap(0, 5, 10), host="h02")).status_code == 403
    assert (await host.outline(ChunkPlace(0, 0, 9), host="h02")).status_code == 403


async def test_an_outline_is_that_of_the_published_bytes(tracker, built) -> None:
    chunks = [ChunkPlace(0, 0, 3_000), ChunkPlace(1, 70_000, 90_000)]
    answer = await Host(tracker, built).outline(*chunks)
    assert answer.status_code == 200, answer.text
    reply = decode(answer.content, OutlineReply, bytes_max=OUTLINE_REPLY_BYTES_MAX)
    places = [(chunk.blob_index, chunk.offset_bytes, chunk.size_bytes) for chunk in chunks]
    assert list(reply.outlines) == [outline_of(built.sources.pread(*place)) for place in places]


@pytest.mark.parametrize("chunk", [ChunkPlace(1, 1_999_999, 2), ChunkPlace(9, 0, 1)])
async def test_there_is_no_outline_beyond_a_blob(tracker, built, chunk: ChunkPlace) -> None:
    assert (await Host(tracker, built).outline(chunk)).status_code == 400
