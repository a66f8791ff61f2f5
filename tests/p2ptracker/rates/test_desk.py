"""Limits through the API: stored, told to every cell, told again when a cell holds another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from p2pdeploy.gossip.state import RATE_LIMITS_KEY, item_of
from p2pdeploy.ids import HostName
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX
from p2pdeploy.messages.api import HostView
from p2pdeploy.messages.limits import HostLimitsView, LimitRequest, LimitTarget, LimitView
from p2pdeploy.messages.rates import UNLIMITED, RateLimit, RateLimits
from p2pdeploy.trust.envelope import seal
from p2ptracker.control_plane import ControlPlane, open_control_plane
from tests.p2ptracker.tracker_bench import CELL, Tracker, code_of

H1 = HostName("h01")
MB = 1_000_000
LIMITED = RateLimit(download_bytes_per_s=5 * MB, upload_bytes_per_s=None)


async def set_limit(tracker: Tracker, **target: object) -> None:
    body = {"target": target, "download_bytes_per_s": 5 * MB}
    answer = await tracker.http.post("/v1/limits", json=body)
    assert answer.status_code == 200, answer.text


async def listed(tracker: Tracker) -> list[LimitView]:
    answer = await tracker.http.get("/v1/limits")
    return msgspec.json.decode(answer.content, type=list[LimitView])


def told(plane: ControlPlane) -> RateLimits | None:
    order = plane.cells.get(CELL).order(RATE_LIMITS_KEY)
    assert order is None or isinstance(order, RateLimits)
    return order


async def test_a_cell_without_limits_is_told_nothing(tracker: Tracker) -> None:
    assert told(tracker.plane) is None
    assert await listed(tracker) == []


async def test_a_limit_is_told_on_return_and_a_cleared_one_taken_back(tracker: Tracker) -> None:
    await set_limit(tracker, host=H1)
    first = told(tracker.plane)
    assert first is not None
    assert first.hosts == {H1: LIMITED}
    await set_limit(tracker, environment="lab", machine_function="web")
    second = told(tracker.plane)
    assert second is not None
    assert (second.uplink, second.limits_seq) == (LIMITED, first.limits_seq + 1)

    answer = await tracker.http.post("/v1/limits/clear", json={"host": H1})
    assert answer.status_code == 200, answer.text
    third = told(tracker.plane)
    assert third is not None
    assert (third.hosts, third.uplink) == ({}, LIMITED)
    again = await tracker.http.post("/v1/limits/clear", json={"host": H1})
    assert code_of(again) == (404, "no-limit")


async def test_the_same_limit_again_is_no_other_order(tracker: Tracker) -> None:
    await set_limit(tracker, host=H1)
    before = told(tracker.plane)
    await set_limit(tracker, host=H1)
    assert told(tracker.plane) == before


async def test_limits_and_their_count_survive_a_restart(fleet_dir: Path, started) -> None:
    async with started(fleet_dir) as before:
        await set_limit(before, host=H1)
        held = told(before.plane)
    async with started(fleet_dir) as after:
        assert [limit.name for limit in await listed(after)] == [H1]
        assert told(after.plane) == held
        await set_limit(after, cell=CELL)
        now = told(after.plane)
        assert held is not None
        assert now is not None
        assert now.limits_seq == held.limits_seq + 1


async def test_what_a_thief_of_the_key_says_is_put_right(fleet_dir: Path) -> None:
    async with open_control_plane(fleet_dir) as plane:
        target = LimitTarget(host=H1)
        await plane.rates.set(LimitRequest(target=target, download_bytes_per_s=5 * MB))
        steal(plane, seq=70)
        with trio.move_on_after(1):  # the first round comes at once
            await plane.rates.tell_rate_limits()
        held = told(plane)
    assert held is not None
    assert (held.hosts, held.limits_seq) == ({H1: LIMITED}, 71)


async def test_a_number_that_nothing_could_follow_is_not_followed(tracker: Tracker) -> None:
    steal(tracker.plane, seq=NUMBER_FOLLOWED_MAX + 1)
    await set_limit(tracker, host=H1)
    held = told(tracker.plane)
    assert held is not None
    assert held.limits_seq == NUMBER_FOLLOWED_MAX + 1


def steal(plane: ControlPlane, seq: int) -> None:
    """Say something to the cell with the deployer key."""
    word = RateLimits(cell=CELL, limits_seq=seq, each_host=RateLimit(download_bytes_per_s=MB))
    envelope = seal(word, plane.trust.keys["deployer"])
    assert plane.cells.get(CELL).put(item_of(word, envelope), word, 0.0)


async def test_a_host_that_does_not_answer_shows_what_is_set_and_its_silence(
    tracker: Tracker,
) -> None:
    await set_limit(tracker, cell=CELL)
    answer = await tracker.http.get(f"/v1/hosts/{H1}/limits")
    view = msgspec.json.decode(answer.content, type=HostLimitsView)
    assert [limit.scope for limit in view.limits] == ["cell"]
    assert view.in_force is None
    assert view.silence


async def test_bad_requests_change_nothing(tracker: Tracker) -> None:
    for body, code in (
        ({"target": {"host": "h99"}}, "unknown-target"),
        ({"target": {}}, "no-target"),
        ({"target": {"host": H1}, "download_bytes_per_s": 1}, "bad-request"),
        ({"target": {"host": H1}, "download": 5 * MB}, "bad-request"),
    ):
        answer = await tracker.http.post("/v1/limits", json=body)
        assert not answer.is_success, body
        assert code_of(answer)[1] == code, answer.text
    assert await listed(tracker) == []
    assert told(tracker.plane) is None


async def test_what_a_host_was_told_stands_in_its_view(tracker: Tracker) -> None:
    await set_limit(tracker, host=H1)
    answer = await tracker.http.get("/v1/hosts")
    views = msgspec.json.decode(answer.content, type=list[HostView])
    limits = {view.name: view.download_limit_bytes_per_s for view in views}
    assert limits == {H1: 5 * MB, "h02": None, "h03": None, "h04": None}


async def test_a_host_may_not_set_limits(tracker: Tracker) -> None:
    http = tracker.as_host(H1)
    body = {"target": {"host": H1}}
    assert code_of(await http.post("/v1/limits", json=body)) == (403, "forbidden")
    assert code_of(await http.get("/v1/limits")) == (403, "forbidden")


async def test_unlimited_is_a_limit_that_is_shown(tracker: Tracker) -> None:
    answer = await tracker.http.post("/v1/limits", json={"target": {"host": H1}})
    assert answer.status_code == 200
    held = told(tracker.plane)
    assert held is not None
    assert held.hosts == {H1: UNLIMITED}
