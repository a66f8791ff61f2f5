"""The routes of rollouts over HTTP: every verb, and one clear document for every refusal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import trio

from p2pdeploy.messages.api import ErrorBody, ErrorDocument, Reason, RolloutPlanView, RolloutView
from p2pdeploy.messages.attestation import REASON_CHARS_MAX, Rank
from p2ptracker.api.app import BODY_BYTES_MAX, serve_api
from tests.p2ptracker.rollout_bench import World, open_world
from tests.p2ptracker.tracker_bench import open_http

HELLO_1 = {"service": "hello", "version": "1", "environment": "lab", "machine_function": "web"}
JSON = {"Content-Type": "application/json"}


class Api:
    """A client of the rollouts of one served world."""

    def __init__(self, world: World, http: httpx2.AsyncClient) -> None:
        self.world = world
        self.http = http

    async def ok(self, method: str, path: str, kind: Any, **sent: Any) -> Any:
        answer = await self.http.request(method, f"/v1/rollouts{path}", **sent)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=kind)

    async def refused(self, method: str, path: str, **sent: Any) -> tuple[int, ErrorBody]:
        answer = await self.http.request(method, f"/v1/rollouts{path}", **sent)
        assert answer.headers["content-type"] == "application/json"
        error = msgspec.json.decode(answer.content, type=ErrorDocument).error
        assert error.message
        assert "Traceback" not in answer.text
        return answer.status_code, error


@pytest.fixture
async def api(tmp_path: Path) -> AsyncGenerator[Api]:
    async with open_world(tmp_path / "fleet") as world, trio.open_nursery() as nursery:
        port = await nursery.start(serve_api, world.plane, world.desk)
        async with open_http(world.plane.trust.paths.operator_files(), port) as http:
            yield Api(world, http)
        nursery.cancel_scope.cancel()


async def test_a_rollout_is_planned_applied_and_watched(api: Api) -> None:
    plan = await api.ok("POST", "/plan", RolloutPlanView, json=HELLO_1)
    assert plan.changes == 4
    request = {**HELLO_1, "check_index": plan.check_index}
    view = await api.ok("POST", "", RolloutView, json=request)
    assert (view.id, view.state) == ("hello-1", "running")
    assert await api.ok("GET", "/hello-1", RolloutView) == view
    assert await api.ok("GET", "?service=hello&limit=1", list[RolloutView]) == [view]
    assert await api.ok("GET", "?after=hello-1", list[RolloutView]) == []
    assert await api.ok("GET", "?service=api", list[RolloutView]) == []


async def test_every_verb_has_its_route(api: Api) -> None:
    await api.ok("POST", "", RolloutView, json={**HELLO_1, "failure_fraction_max": 0.5})
    for verb, state in (("pause", "paused"), ("resume", "running")):
        assert (await api.ok("POST", f"/hello-1/{verb}", RolloutView)).state == state
    excuse = {"hosts": ["w1"], "reason": "broken fan"}
    assert (await api.ok("POST", "/hello-1/excuse", RolloutView, json=excuse)).state == "running"
    assert (await api.ok("POST", "/hello-1/abort", RolloutView)).state == "rolling-back"
    api.world.say(("w1", "w2", "w3", "w4"), api.world.plan().plan_seq + 1, Rank.HEALTHY)
    await api.world.look()
    assert (await api.ok("GET", "/hello-1", RolloutView)).state == "aborted"
    await api.world.complete("2")
    assert (await api.ok("POST", "/hello-2/revert", RolloutView)).state == "rolling-back"


async def test_why_answers_for_the_rollout_and_for_a_host(api: Api) -> None:
    await api.ok("POST", "", RolloutView, json=HELLO_1)
    await api.world.look()
    assert (await api.ok("GET", "/hello-1/why", list[Reason]))[0].code == "activating"
    of_host = await api.ok("GET", "/hello-1/why?host=w1", list[Reason])
    assert [reason.code for reason in of_host] == ["host-silent", "no-word"]


REFUSALS: list[tuple[str, str, dict[str, Any] | None, int, str]] = [
    ("POST", "/plan", {**HELLO_1, "version": "9"}, 404, "no-release"),
    ("POST", "", {**HELLO_1, "version": "9"}, 404, "no-release"),
    ("POST", "", {"service": "hello", "version": "1"}, 409, "no-target"),
    ("POST", "", {**HELLO_1, "environment": "prod"}, 409, "empty-target"),
    ("POST", "", {**HELLO_1, "check_index": "0123456789ab"}, 409, "check-index"),
    ("POST", "", HELLO_1, 409, "rollout-under-way"),
    ("POST", "/hello-1/resume", None, 409, "wrong-state"),
    ("POST", "/hello-1/explode", None, 400, "bad-request"),
    ("POST", "/hello-9/pause", None, 404, "no-rollout"),
    ("POST", "/hello-1/excuse", {"hosts": ["d1"], "reason": ""}, 409, "not-in-roster"),
    ("POST", "/hello-1/excuse", {"hosts": ["w1"], "reason": ""}, 409, "too-many-excused"),
    ("POST", "/hello-1/excuse", {"hosts": ["w1"]}, 400, "bad-request"),
    ("GET", "/hello-9", None, 404, "no-rollout"),
    ("GET", "/hello-9/why", None, 404, "no-rollout"),
    ("GET", "/hello-1/why?host=nobody", None, 404, "no-host"),
    ("GET", "/%FF%00", None, 404, "no-rollout"),
    ("POST", "", {**HELLO_1, "version": "1\0"}, 404, "no-release"),
    ("POST", "", {**HELLO_1, "max_unavailable": 10**30}, 409, "bad-limit"),
    ("GET", "?limit=0", None, 400, "bad-request"),
    ("GET", "?limit=1001", None, 400, "bad-request"),
    ("GET", f"?after={'a' * 65}", None, 400, "bad-request"),
    ("DELETE", "/hello-1", None, 405, "method-not-allowed"),
]


async def test_every_refusal_has_its_status_and_code_and_changes_nothing(api: Api) -> None:
    before = await api.ok("POST", "", RolloutView, json=HELLO_1)
    for method, path, sent, status, code in REFUSALS:
        got, error = await api.refused(method, path, **({} if sent is None else {"json": sent}))
        assert (got, error.code) == (status, code), (method, path, sent)
    assert await api.ok("GET", "", list[RolloutView]) == [before]


def malformed() -> list[tuple[str, bytes]]:
    """A body and what is wrong with it."""
    whole = msgspec.json.encode(HELLO_1)
    wrong: list[dict[str, Any]] = [
        {"service": 7},
        {"version": None},
        {"hosts": "w1"},
        {"hosts": [["w1"]]},
        {"max_unavailable": 1.5},
        {"max_unavailable": True},
        {"failure_fraction_max": "much"},
        {"bake_s": "5s"},
        {"colour": "red"},
    ]
    return [
        ("empty", b""),
        ("no JSON", b"\x93\xc1"),
        ("no UTF-8", whole.replace(b"lab", b"\xff\xfe\xfd")),
        ("cut off", whole[:-1]),
        ("two documents", whole + whole),
        ("a list", b"[]"),
        ("nested", b"[" * 100_000),
        ("nested in a field", whole[:-1] + b',"hosts":' + b"[" * 100_000),
        ("nested in an unknown field", whole[:-1] + b',"x":' + b'{"x":' * 20_000),
        ("half a character", whole.replace(b"lab", b"\\ud800")),
        ("an endless number", whole[:-1] + b',"bake_s":1' + b"0" * 400 + b"}"),
        *((str(change), msgspec.json.encode({**HELLO_1, **change})) for change in wrong),
    ]


async def test_a_malformed_request_gets_one_clear_line_and_starts_nothing(api: Api) -> None:
    for what, body in malformed():
        for path in ("", "/plan"):
            status, error = await api.refused("POST", path, content=body, headers=JSON)
            assert (status, error.code) == (400, "bad-request"), what
            assert len(error.message) <= 500, what
    assert await api.ok("GET", "", list[RolloutView]) == []


async def test_an_excuse_that_no_order_could_carry_is_refused(api: Api) -> None:
    await api.ok("POST", "", RolloutView, json=HELLO_1)
    sent = {"hosts": ["w1"], "reason": "x" * (REASON_CHARS_MAX + 1)}
    status, error = await api.refused("POST", "/hello-1/excuse", json=sent)
    assert (status, error.code) == (400, "bad-request")
    assert str(REASON_CHARS_MAX) in error.message


async def test_a_body_above_the_limit_is_refused(api: Api) -> None:
    body = msgspec.json.encode({**HELLO_1, "check_index": "x" * BODY_BYTES_MAX})
    status, error = await api.refused("POST", "", content=body, headers=JSON)
    assert (status, error.code) == (413, "too-large")
    assert await api.ok("GET", "", list[RolloutView]) == []
