"""What Hypercorn would speak besides HTTP/1.1, said by somebody without a certificate."""

from __future__ import annotations

import hypercorn.protocol
import pytest
from hypercorn.protocol.h11 import H11Protocol

from tests.p2ptracker.api.raw_requests import (
    KILLERS,
    WELL_FORMED,
    answer_to,
    crashed,
    wait_for_crashes,
)
from tests.p2ptracker.api.test_connections import gets_in

OTHERS = ("h2", "h2c", "websocket", "upgrade of a request with a body")


async def test_a_stranger_does_not_end_the_control_plane_by_another_protocol(tracker) -> None:
    for name, said in KILLERS.items():
        assert (await answer_to(tracker, said)).startswith(b"HTTP/1.1 400 "), name
        await gets_in(tracker)
    assert crashed(tracker) == 0


async def test_nobody_is_served_by_another_protocol(tracker) -> None:
    for name in OTHERS:
        answer = await answer_to(tracker, WELL_FORMED[name])
        assert answer.startswith(b"HTTP/1.1 400 "), (name, answer)
        assert b"connection: close" in answer, name
    assert crashed(tracker) == 0


async def test_another_protocol_behind_an_answered_request_is_refused_as_well(tracker) -> None:
    for name, said in KILLERS.items():
        answer = await answer_to(tracker, WELL_FORMED["get"] + said)
        assert answer.startswith(b"HTTP/1.1 200 "), name
        assert b"HTTP/1.1 400 " in answer, name
        await gets_in(tracker)
    assert crashed(tracker) == 0


@pytest.mark.slow
async def test_a_connection_that_crashes_ends_no_other(
    tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Hypercorn as it is, each of these is an error that nobody foresaw."""
    monkeypatch.setattr(hypercorn.protocol, "H11Protocol", H11Protocol)
    for count, said in enumerate(KILLERS.values(), start=1):
        await answer_to(tracker, said)
        await wait_for_crashes(tracker, count)
        await gets_in(tracker)
