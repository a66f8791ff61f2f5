"""Attacks on who may do what, against the real routes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import msgspec
import pytest
from litestar import Litestar, get
from prometheus_client import CollectorRegistry

from p2pdeploy.messages.access import AccessRow
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.guard import authorise_route
from p2ptracker.api.routes import check_declared
from p2ptracker.audit.log import AuditLog
from tests.p2ptracker.api.callers import CONTROL_PLANE, Callers, host, operator
from tests.p2ptracker.rollout_bench import open_world
from tests.p2ptracker.tracker_bench import code_of

PUBLISH = "/v1/releases/hello/9"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncGenerator[Callers]:
    async with open_world(tmp_path / "fleet") as world:
        yield Callers(world, AuditLog(world.plane.database, CollectorRegistry(), time.time))


async def status(api: Callers, peer: Peer | None, method: str, path: str) -> int:
    async with api.of(peer) as http:
        return (await http.request(method, path)).status_code


async def test_a_viewer_publishes_nothing(api: Callers) -> None:
    assert await status(api, operator("viewer"), "POST", PUBLISH) == 403
    assert await status(api, operator("viewer"), "POST", f"{PUBLISH}/commit") == 403
    assert await status(api, operator("viewer"), "GET", "/v1/hosts") == 200


async def test_a_publisher_of_another_service_publishes_nothing(api: Callers) -> None:
    for role, expected in (("publisher:api", 403), ("publisher:hello", 400), ("publisher:*", 400)):
        assert await status(api, operator(role), "POST", PUBLISH) == expected, role
    for path in ("/v1/releases/api/../hello/9", "/v1/releases/api%2F..%2Fhello/9"):
        assert await status(api, operator("publisher:api"), "POST", path) in (403, 404, 405)


async def test_a_publisher_rolls_out_nothing(api: Callers) -> None:
    publisher = operator("publisher:*")
    for path in ("", "/plan", "/hello-1/abort", "/hello-1/revert", "/hello-1/excuse"):
        assert await status(api, publisher, "POST", f"/v1/rollouts{path}") == 403, path
        assert await status(api, operator("rollout-owner"), "POST", f"/v1/rollouts{path}") != 403


async def test_only_who_rolls_out_has_releases_deleted_from_hosts(api: Callers) -> None:
    for role in ("viewer", "publisher:*"):
        assert await status(api, operator(role), "POST", "/v1/cache/prune") == 403
        assert await status(api, operator(role), "GET", "/v1/cache?host=w99") == 409
    assert await status(api, operator("rollout-owner"), "POST", "/v1/cache/prune") == 400


async def test_a_hosts_certificate_opens_no_route_of_operators(api: Callers) -> None:
    refused = {"view", "operator", "publish", "rollout", "admin"}
    tried = 0
    async with api.of(operator("viewer")) as http:
        rows = msgspec.json.decode(
            (await http.get("/v1/auth/matrix")).content, type=list[AccessRow]
        )
    for row in rows:
        if row.permission in refused:
            assert await status(api, host("w1"), row.method, row.path) == 403, row
            tried += 1
    assert tried >= 20


async def test_the_control_planes_own_certificate_opens_nothing(api: Callers) -> None:
    for path in ("/v1/hosts", "/v1/time", "/v1/audit", "/metrics", "/v1/openapi.json"):
        assert await status(api, CONTROL_PLANE, "GET", path) == 403, path


async def test_a_host_learns_of_no_other_cell(api: Callers) -> None:
    async with api.of(host("d1")) as http:
        answer = await http.get("/v1/cells/lab.web.c0/hosts")
        assert code_of(answer) == (403, "not-your-cell")
        assert (await http.get("/v1/cells/lab.db.c0/hosts")).status_code == 200
        answer = await http.get("/v1/cells/lab.web.c0/gateways")
        assert code_of(answer) == (403, "not-your-cell")
        assert (await http.get("/v1/cells/lab.db.c0/gateways")).json() == {"links": []}


async def test_an_operators_certificate_is_no_host(api: Callers) -> None:
    assert await status(api, operator("admin"), "POST", "/v1/deal") == 403
    assert await status(api, operator("admin"), "POST", "/v1/cells/lab.web.c0/sync") == 403


async def test_without_a_certificate_there_is_the_health_page_and_nothing_else(
    api: Callers,
) -> None:
    async with api.of(None) as http:
        health = await http.get("/healthz")
        assert (health.status_code, health.text) == (200, "ok")
        for path in ("/v1/time", "/metrics", "/v1/openapi.json", "/nowhere", "/healthz/x"):
            assert code_of(await http.get(path)) == (401, "no-certificate"), path
        assert code_of(await http.post("/healthz")) == (401, "no-certificate")


async def test_another_fleets_certificate_opens_nothing(api: Callers) -> None:
    for peer in (operator("admin", fleet="foreign"), host("w1", fleet="foreign")):
        async with api.of(peer) as http:
            assert code_of(await http.get("/v1/time")) == (401, "other-fleet")


async def test_a_revoked_certificate_opens_nothing_from_the_next_request_on(api: Callers) -> None:
    async with api.of(operator("admin")) as http:
        assert (await http.get("/v1/time")).status_code == 200
        api.revoked.add("A1")
        assert code_of(await http.get("/v1/time")) == (401, "revoked")


async def test_an_open_connection_does_not_outlive_its_certificate(api: Callers) -> None:
    api.valid_until = time.time() - 1
    async with api.of(operator("admin")) as http:
        assert code_of(await http.get("/v1/time")) == (401, "expired")


async def test_a_dns_rebinding_request_gets_nothing_even_with_a_certificate(api: Callers) -> None:
    async with api.of(operator("admin")) as http:
        for name in ("evil.example", "localhost:7900", "127.0.0.1", ""):
            answer = await http.get("/v1/hosts", headers={"Host": name})
            assert code_of(answer) == (403, "host"), name
            answer = await http.get("/healthz", headers={"Host": name})
            assert code_of(answer) == (403, "host"), name
        answer = await http.get("/v1/hosts", headers={"Origin": "https://evil.example"})
        assert code_of(answer) == (403, "origin")


async def test_options_tells_nothing(api: Callers) -> None:
    assert await status(api, operator("admin"), "OPTIONS", "/v1/hosts") == 405
    assert await status(api, None, "OPTIONS", "/healthz") == 401


async def test_the_matrix_lists_every_route(api: Callers) -> None:
    async with api.of(operator("viewer")) as http:
        rows = msgspec.json.decode(
            (await http.get("/v1/auth/matrix")).content, type=list[AccessRow]
        )
        document = (await http.get("/v1/openapi.json")).json()
    listed = {(row.method, row.path) for row in rows}
    documented = {
        (method.upper(), path) for path, ops in document["paths"].items() for method in ops
    }
    assert documented <= listed
    by_path = {(row.method, row.path): row for row in rows}
    assert by_path["POST", "/v1/rollouts"].roles == ("rollout-owner", "admin")
    publish = by_path["POST", "/v1/releases/{service}/{version}"]
    assert publish.roles == ("publisher:SERVICE", "publisher:*", "admin")
    assert by_path["POST", "/v1/deal"].roles == ("host",)


def test_a_route_that_does_not_say_who_may_call_it_is_not_served() -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    with pytest.raises(AssertionError, match="/forgotten declares no permission"):
        check_declared(Litestar([forgotten], openapi_config=None))


async def test_a_route_with_an_unknown_permission_answers_nobody() -> None:
    @get("/odd", opt={"permission": "vieew"})
    async def odd() -> str:
        return "secret"

    application = Litestar([odd], guards=[authorise_route], openapi_config=None)
    transport = httpx2.ASGITransport(app=application)
    async with httpx2.AsyncClient(transport=transport, base_url="https://x") as http:
        assert (await http.get("/odd")).status_code == 405
