"""The API as a whole: its OpenAPI document, and routes that need no other part to run."""

from __future__ import annotations

import base64
import time

import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.api import HostView
from p2pdeploy.messages.deal import (
    DEAL_REPLY_BYTES_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    bitmap_of,
)
from p2pdeploy.payload.torrent import PieceCheck, piece_spans
from p2pdeploy.topology import Host
from p2ptracker import held_dealer, origin

CELL = CellId("lab.web.c0")


async def test_the_openapi_document_describes_every_route(tracker) -> None:
    document = (await tracker.http.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    paths = set(document["paths"])
    assert {
        "/v1/time",
        "/v1/hosts",
        "/v1/cells/{cell}/hosts",
        "/v1/cells/{cell}/sync",
        "/v1/deal",
        "/v1/deal/gaps",
        "/v1/outlines",
        "/v1/fleet/{service}/versions",
        "/v1/fleet/{service}/where/{version}",
        "/v1/releases/{service}",
        "/v1/releases/{service}/{version}",
        "/v1/releases/{service}/{version}/commit",
        "/v1/releases/{service}/{version}/egress",
        "/v1/manifests/{digest}",
        "/v1/manifests/{digest}/chunks",
        "/v1/manifests/{digest}/torrent",
    } <= paths
    references = {node["$ref"].rpartition("/")[2] for node in walk(document) if "$ref" in node}
    assert references <= set(document["components"]["schemas"])
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert all({"401", "404", "409"} <= set(op["responses"]) for op in operations)
    assert len({op["operationId"] for op in operations}) == len(operations)


def walk(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


async def test_the_time_is_the_control_planes_own(tracker) -> None:
    before = time.time()
    now = (await tracker.http.get("/v1/time")).json()["now"]
    assert before <= now <= time.time()


async def test_the_hosts_of_a_cell_are_its_inventory(tracker) -> None:
    answer = await tracker.http.get(f"/v1/cells/{CELL}/hosts")
    hosts = msgspec.json.decode(answer.content, type=list[Host])
    assert [host.name for host in hosts] == ["h01", "h02", "h03", "h04"]
    assert {host.cell for host in hosts} == {CELL}


async def test_hosts_are_listed_page_by_page_and_filtered(tracker) -> None:
    async def names(query: str) -> list[str]:
        answer = await tracker.http.get(f"/v1/hosts?{query}")
        return [host.name for host in msgspec.json.decode(answer.content, type=list[HostView])]

    assert await names("") == ["h01", "h02", "h03", "h04"]
    assert await names("limit=2") == ["h01", "h02"]
    assert await names("limit=2&after=h02") == ["h03", "h04"]
    assert await names("filter=fault_domain=fd1") == ["h01", "h03"]
    assert await names("filter=fault_domain=fd1&filter=h03") == ["h03"]
    assert await names("filter=alive=true") == [], "nobody has called yet"


class Drawer:
    """One host drawing deals over HTTP."""

    def __init__(self, tracker, digest: Digest, piece_count: int, name: str) -> None:
        self.tracker = tracker
        self.digest = digest
        self.bits = [False] * piece_count
        self.name = HostName(name)

    async def draw(self, *, speaks_as: str = "", cell: CellId = CELL, **changes):
        request = DealRequest(
            cell=cell,
            manifest_digest=self.digest,
            host=self.name,
            have=bitmap_of(self.bits),
            **changes,
        )
        http = self.tracker.as_host(speaks_as or self.name)
        return await http.post("/v1/deal", content=encode(request))

    async def draw_piece(self) -> tuple[DealReply, bytes]:
        answer = await self.draw()
        assert answer.status_code == 200, answer.text
        head = base64.b64decode(answer.headers["X-Deal"], validate=True)
        return decode(head, DealReply, bytes_max=DEAL_REPLY_BYTES_MAX), answer.content


async def test_each_piece_is_dealt_once_verified_and_counted(tracker, payload) -> None:
    built = payload(large_bytes=200_000)
    await tracker.publish("1.0.0", built)
    spans = piece_spans(built.manifest)
    hosts = [Drawer(tracker, built.manifest_digest, len(spans), f"h0{n}") for n in (1, 2)]
    dealt: list[int] = []
    while len(dealt) < len(spans):
        for host in hosts:
            reply, data = await host.draw_piece()
            assert isinstance(reply, Deal)
            assert len(data) == reply.size_bytes
            for piece, size_bytes in ((each.piece, each.size_bytes) for each in reply.pieces):
                assert size_bytes == spans[piece].size_bytes
                assert PieceCheck(built.manifest).is_right(piece, data[:size_bytes])
                data = data[size_bytes:]
                dealt.append(piece)
                host.bits[piece] = True
            if len(dealt) == len(spans):
                break
    assert sorted(dealt) == list(range(len(spans)))
    for host in hosts:
        host.bits = [True] * len(spans)
    assert [type((await host.draw_piece())[0]) for host in hosts][-1] is AllDealt
    egress = (await tracker.http.get("/v1/releases/hello/1.0.0/egress")).json()
    assert egress["dealt_bytes"] == egress["size_bytes"] == built.manifest.size_bytes


async def test_a_deal_request_in_anothers_name_or_senseless_gets_no_bytes(tracker, payload) -> None:
    built = payload(large_bytes=200_000)
    await tracker.publish("1.0.0", built)
    host = Drawer(tracker, built.manifest_digest, len(piece_spans(built.manifest)), "h01")
    for changes, status in (
        ({"speaks_as": "h02"}, 403),
        ({"cell": CellId("lab.db.c0")}, 401),
        ({"missing": (9_999,)}, 400),
        ({"missing": tuple(range(100))}, 400),
        ({"completed": True}, 400),
    ):
        answer = await host.draw(**changes)
        assert answer.status_code == status, (changes, answer.text)
        assert "X-Deal" not in answer.headers


async def test_a_release_that_does_not_exist_is_not_dealt(tracker) -> None:
    answer = await Drawer(tracker, Digest("a" * 64), 8, "h01").draw()
    assert answer.status_code == 404
    answer = await Drawer(tracker, Digest("../../trust"), 8, "h01").draw()
    assert answer.status_code == 404


async def test_an_origin_that_restarts_hears_the_hosts_before_it_deals(
    fleet_dir, started, payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_dealer, "HOLD_S", 0.1)
    built = payload(large_bytes=200_000)
    async with started(fleet_dir) as tracker:
        await tracker.publish("1.0.0", built)
    count = len(piece_spans(built.manifest))
    async with started(fleet_dir) as tracker:
        empty = Drawer(tracker, built.manifest_digest, count, "h01")
        full = Drawer(tracker, built.manifest_digest, count, "h02")
        full.bits = [True] * count
        assert not isinstance((await empty.draw_piece())[0], Deal)
        await full.draw_piece()
        assert not isinstance((await empty.draw_piece())[0], Deal)


async def test_the_origin_remembers_a_bounded_number_of_releases(
    tracker, payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one it forgot is heard before it is dealt, like after a restart."""
    monkeypatch.setattr(origin, "DEALT_MAX", 1)
    monkeypatch.setattr(held_dealer, "HOLD_S", 0.1)
    drawers: list[Drawer] = []
    for number in (1, 2):
        built = payload(number, large_bytes=200_000)
        await tracker.publish(f"{number}.0.0", built)
        count = len(piece_spans(built.manifest))
        drawers.append(Drawer(tracker, built.manifest_digest, count, "h01"))
        assert isinstance((await drawers[-1].draw_piece())[0], Deal)

    async def dealt_bytes(version: str) -> int:
        answer = await tracker.http.get(f"/v1/releases/hello/{version}/egress")
        return answer.json()["dealt_bytes"]

    assert await dealt_bytes("1.0.0") == 0
    assert await dealt_bytes("2.0.0") > 0
    tracker.plane.origin._tables.clear()  # as after ten idle minutes
    assert not isinstance((await drawers[0].draw_piece())[0], Deal)
