"""The most pieces and hosts there may be: a request costs operations on bitsets, not on pieces."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import PIECES_MAX, DealRequest
from p2pdeploy.swarm.deal import Dealer

BITMAP_BYTES = PIECES_MAX // 8
# Of one request that changes everything.  Piece by piece it would be hundreds of thousands.
LINES_MAX = 2_000


def request_of(host: str, have: bytes, **words: object) -> DealRequest:
    return DealRequest(
        cell=CellId("lab.web.c0"),
        manifest_digest=Digest("00" * 32),
        host=HostName(host),
        have=have,
        **words,  # pyright: ignore[reportArgumentType]
    )


def lines_run(dealer: Dealer, request: DealRequest, now: float) -> int:
    """How many lines of Python one request costs; the same on every machine."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        dealer.handle(request, now)
    finally:
        sys.settrace(before)
    return count


def test_no_request_costs_work_piece_by_piece():
    dealer = Dealer([16_384] * PIECES_MAX)
    nothing, nearly_all = bytes(BITMAP_BYTES), b"\xff" * (BITMAP_BYTES - 1) + b"\x00"
    requests = [
        request_of("a", nearly_all),
        request_of("b", nearly_all, fresh=True),
        request_of("a", nothing, fresh=True),
        request_of("b", nothing, fresh=True),
        request_of("c", nothing, stripes=0),
        request_of("c", nothing, stripes=1),
    ]
    for number, request in enumerate(requests):
        assert lines_run(dealer, request, float(number)) < LINES_MAX, request.host


def test_a_crowd_that_waits_costs_nobody_work_host_by_host():
    dealer = Dealer([16_384] * 1_000)
    nothing = bytes(125)
    for index in range(900):
        dealer.handle(request_of(f"h{index}", nothing), 0.0)
    dealer.handle(request_of("late", nothing), 0.1)  # the sweep of each second is behind it
    assert lines_run(dealer, request_of("late", nothing), 0.2) < LINES_MAX // 4
