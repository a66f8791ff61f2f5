"""One dealer for all cells of a target, and one for each target."""

from __future__ import annotations

import base64

import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.deal import (
    DEAL_REPLY_BYTES_MAX,
    Deal,
    DealReply,
    DealRequest,
    WaitDeal,
    bitmap_of,
)
from p2pdeploy.payload.torrent import piece_spans
from p2pdeploy.topology import Host
from p2ptracker import held_dealer

CELLS = {
    "h01": CellId("lab.web.c0"),
    "h02": CellId("lab.web.c1"),
    "h03": CellId("lab.db.c0"),
}


@pytest.fixture
def fleet_dir(fleet_dir):
    """Its first three hosts stand in two cells of one target, and in one of another."""
    file = fleet_dir / "inventory.json"
    hosts = msgspec.json.decode(file.read_bytes(), type=list[Host])[: len(CELLS)]
    moved = [
        msgspec.structs.replace(
            host, cell=CELLS[host.name], machine_function=CELLS[host.name].split(".")[1]
        )
        for host in hosts
    ]
    file.write_bytes(msgspec.json.encode(moved))
    return fleet_dir


@pytest.fixture
async def built(tracker, payload):
    built = payload(large_bytes=2_000_000)
    await tracker.publish("1.0.0", built)
    return built


async def draw(tracker, built, name: str, *have: int) -> DealReply:
    count = len(piece_spans(built.manifest))
    request = DealRequest(
        cell=CELLS[name],
        manifest_digest=built.manifest_digest,
        host=HostName(name),
        have=bitmap_of([piece in have for piece in range(count)]),
    )
    answer = await tracker.as_host(name).post("/v1/deal", content=encode(request))
    assert answer.status_code == 200, answer.text
    return decode(
        base64.b64decode(answer.headers["X-Deal"]), DealReply, bytes_max=DEAL_REPLY_BYTES_MAX
    )


async def test_a_piece_goes_to_one_cell_of_a_target(tracker, built) -> None:
    drawn: list[int] = []
    for name in ("h01", "h02"):
        reply = await draw(tracker, built, name)
        assert isinstance(reply, Deal)
        drawn += [dealt.piece for dealt in reply.pieces]
    assert len(set(drawn)) == len(drawn)
    assert len(tracker.plane.origin.statistics()) == 1


async def test_another_target_is_dealt_to_from_the_start_and_at_once(
    tracker, built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_dealer, "HOLD_S", 0.1)
    first = await draw(tracker, built, "h01")
    other = await draw(tracker, built, "h03")
    assert isinstance(first, Deal)
    assert isinstance(other, Deal)  # its dealer is new, not forgotten: there is nobody to hear
    assert [dealt.piece for dealt in first.pieces] == [dealt.piece for dealt in other.pieces]
    tracker.plane.origin._tables.clear()  # as after ten idle minutes
    assert isinstance(await draw(tracker, built, "h03"), WaitDeal)
