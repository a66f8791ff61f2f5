"""An answer that is held ends with the connection of whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from p2pdeploy.codec import encode
from p2pdeploy.gossip.anti_entropy import offer
from p2pdeploy.gossip.state import CellState
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.deal import DealRequest, bitmap_of
from p2pdeploy.messages.sync import HELD_S_MAX, SyncOffer
from p2pdeploy.payload.torrent import piece_spans
from p2ptracker import held_dealer

CELL = CellId("lab.web.c0")


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(3.0):
        while not condition():  # noqa: ASYNC110 a server on another side of TLS tells nobody
            await trio.sleep(0.01)


async def test_a_deal_that_is_held_ends_with_its_connection(
    tracker, payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_dealer, "HOLD_S", 60.0)
    built = payload(large_bytes=20_000)
    await tracker.publish("1.0.0", built)
    count = len(piece_spans(built.manifest))
    request = DealRequest(
        cell=CELL,
        manifest_digest=built.manifest_digest,
        host=HostName("h01"),
        have=bitmap_of([True] * count),  # and is the first to ask: others have to plant them
    )
    await tracker.as_host("h02").post(
        "/v1/deal",
        content=encode(
            DealRequest(
                cell=CELL,
                manifest_digest=built.manifest_digest,
                host=HostName("h02"),
                have=bitmap_of([False] * count),
                paused=True,
            )
        ),
    )
    [table] = tracker.plane.origin._tables.values()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: tracker.as_host("h01").post("/v1/deal", content=encode(request), timeout=None)
        )
        await until(lambda: table.dealer.is_waited_for)
        nursery.cancel_scope.cancel()
    await until(lambda: not table.dealer.is_waited_for)


async def test_the_place_of_a_held_offer_is_free_once_its_connection_has_ended(tracker) -> None:
    replica = tracker.plane.cells.get(CELL)
    words = SyncOffer(
        cell=CELL,
        host=HostName("h01"),
        members=(),
        offer=offer(CellState(CELL)),
        seen=replica.news.revision,
        wait_s=HELD_S_MAX,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: tracker.as_host("h01").post(
                f"/v1/cells/{CELL}/sync", content=encode(words), timeout=None
            )
        )
        await until(lambda: len(tracker.plane.held_offers) == 1)
        nursery.cancel_scope.cancel()
    await until(lambda: len(tracker.plane.held_offers) == 0)
