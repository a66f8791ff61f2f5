"""What goes on record, and that nothing is done without."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from p2pdeploy.errors import UnavailableError
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import ErrorDocument
from p2pdeploy.messages.audit import AuditEntry, follow_chain
from p2ptracker.audit.log import AuditLog
from p2ptracker.audit.refusals import REFUSALS_MAX
from tests.p2ptracker.api.callers import Callers, host, operator
from tests.p2ptracker.rollout_bench import World, open_world

HELLO_1 = {"service": "hello", "version": "1", "environment": "lab", "machine_function": "web"}
ANN = operator("admin")


class SickLog(AuditLog):
    """A log whose disk fails at the entries of one step."""

    fails_at = ""

    async def append(self, entry: AuditEntry) -> AuditEntry:
        if entry.step == self.fails_at:
            raise UnavailableError("the disk is full", code="disk-full")
        return await super().append(entry)


class Bench(Callers):
    """The API over a log that can be made sick."""

    def __init__(self, world: World, log: SickLog) -> None:
        super().__init__(world, log)
        self.log = log

    async def entries(self) -> list[AuditEntry]:
        found = list(await self.log.entries(after=0, limit=1_000))
        follow_chain(found)
        return [entry for entry in found if entry.method != "LOCAL"]  # whom init made


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    async with open_world(tmp_path / "fleet") as world:
        yield Bench(world, SickLog(world.plane.database, CollectorRegistry(), time.time))


async def test_a_call_that_changes_something_leaves_who_what_when_and_outcome(
    bench: Bench,
) -> None:
    before = time.time()
    body = msgspec.json.encode(HELLO_1)
    async with bench.of(ANN) as http:
        answer = await http.post("/v1/rollouts?x=1", content=body)
    assert answer.status_code == 200, answer.text
    begun, done = await bench.entries()
    assert (begun.step, done.step, done.of) == ("begun", "done", begun.seq)
    for entry in (begun, done):
        assert (entry.who, entry.serial) == ("spiffe://lab/operator/ann", "A1")
        assert (entry.method, entry.path, entry.query) == ("POST", "/v1/rollouts", "x=1")
        assert before - 1 <= entry.at.timestamp() <= time.time() + 1
    assert (done.status, done.code) == (200, "")
    assert (done.body_digest, done.body_bytes) == (digest_of(body), len(body))
    assert msgspec.json.decode(done.parameters) == HELLO_1


async def test_a_failed_call_is_on_record_with_its_error(bench: Bench) -> None:
    async with bench.of(ANN) as http:
        await http.post("/v1/rollouts/none-1/abort")
    _, done = await bench.entries()
    assert (done.status, done.code) == (404, "no-rollout")


async def test_reading_and_what_hosts_do_leaves_nothing(bench: Bench) -> None:
    async with bench.of(ANN) as http:
        assert (await http.get("/v1/hosts")).status_code == 200
        assert (await http.post("/v1/nowhere")).status_code == 404
    async with bench.of(host("w1")) as http:
        assert (await http.get("/v1/time")).status_code == 200
        assert (await http.post("/v1/deal", content=b"x")).status_code == 400
    assert await bench.entries() == []


async def test_a_refused_call_of_somebody_known_is_on_record(bench: Bench) -> None:
    async with bench.of(operator("viewer", name="eve")) as http:
        assert (await http.post("/v1/rollouts", json=HELLO_1)).status_code == 403
    (refused,) = await bench.entries()
    assert (refused.step, refused.who) == ("refused", "spiffe://lab/operator/eve")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert refused.parameters == "", "what a stranger to the route sends is not kept"


async def test_a_flood_of_unauthenticated_requests_leaves_nothing(bench: Bench) -> None:
    async with bench.of(None) as http:
        for path in ("/v1/rollouts", "/v1/audit", "/v1/releases/hello/1"):
            assert (await http.post(path, content=b"x" * 1_000)).status_code == 401
    assert await bench.entries() == []


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_somebody_who_is_refused_again_and_again_fills_no_disk(
    bench: Bench, role: str
) -> None:
    """Each by another path, another query and another body."""
    async with bench.of(operator(role)) as http:
        for number in range(5 * REFUSALS_MAX):
            path = "operators/renewal" if role == "viewer" else f"rollouts/x-{number}/abort"
            answer = await http.post(f"/v1/{path}?{number}", json={"request": "A" * number})
            assert 400 <= answer.status_code < 500
    assert len(await bench.entries()) == 2 * REFUSALS_MAX + 1


async def test_what_succeeds_is_on_record_before_and_after_however_often_its_caller_was_refused(
    bench: Bench,
) -> None:
    async with bench.of(ANN) as http:
        for number in range(2 * REFUSALS_MAX):
            await http.post(f"/v1/rollouts/x-{number}/abort")
        assert (await http.post("/v1/rollouts", json=HELLO_1)).status_code == 200
        assert (await http.post("/v1/rollouts/hello-1/abort")).status_code == 200
        assert (await http.post("/v1/rollouts/hello-1/revert")).status_code in (200, 409)
    flood, late = (found := await bench.entries())[: 2 * REFUSALS_MAX], found[2 * REFUSALS_MAX :]
    assert {entry.step for entry in flood} == {"begun", "done"}
    steering = late[0]
    assert (steering.step, steering.path) == ("begun", "/v1/rollouts/{rollout}/{verb}")
    begun, done = late[1:3]
    assert (begun.step, done.step, done.of) == ("begun", "done", begun.seq)
    assert msgspec.json.decode(done.parameters) == HELLO_1
    aborted = late[3]
    assert (aborted.step, aborted.of, aborted.status) == ("done", steering.seq, 200)
    assert (aborted.path, aborted.who) == ("/v1/rollouts/hello-1/abort", steering.who)
    assert late[4].step == "begun", "the one of before is used up"


async def test_a_caller_who_was_refused_often_does_nothing_without_a_record_either(
    bench: Bench,
) -> None:
    async with bench.of(ANN) as http:
        for number in range(REFUSALS_MAX):
            await http.post(f"/v1/rollouts/x-{number}/abort")
        bench.log.fails_at = "begun"
        assert (await http.post("/v1/rollouts", json=HELLO_1)).status_code == 503
        assert (await http.get("/v1/rollouts")).json() == []


async def test_what_cannot_be_recorded_is_not_done(bench: Bench) -> None:
    bench.log.fails_at = "begun"
    async with bench.of(ANN) as http:
        answer = await http.post("/v1/rollouts", json=HELLO_1)
        error = msgspec.json.decode(answer.content, type=ErrorDocument).error
        assert (answer.status_code, error.code) == (503, "disk-full")
        assert (await http.get("/v1/rollouts")).json() == []


async def test_a_lost_outcome_is_told_to_the_caller(bench: Bench) -> None:
    bench.log.fails_at = "done"
    async with bench.of(ANN) as http:
        answer = await http.post("/v1/rollouts", json=HELLO_1)
    error = msgspec.json.decode(answer.content, type=ErrorDocument).error
    assert (answer.status_code, error.code) == (503, "audit-unavailable")
    assert [entry.step for entry in await bench.entries()] == ["begun"]


async def test_a_refusal_stays_one_when_it_cannot_be_recorded(bench: Bench) -> None:
    bench.log.fails_at = "refused"
    async with bench.of(operator("viewer")) as http:
        assert (await http.post("/v1/rollouts", json=HELLO_1)).status_code == 403


async def test_the_log_is_read_page_by_page_and_only_by_an_admin(bench: Bench) -> None:
    async with bench.of(ANN) as http:
        for _ in range(3):
            await http.post("/v1/rollouts/none-1/pause")
        pages = [(await http.get(f"/v1/audit?after={n}&limit=2")).content for n in (0, 2, 4, 6)]
    found = [e for page in pages for e in msgspec.json.decode(page, type=list[AuditEntry])]
    assert [entry.method for entry in found] == ["LOCAL"] + 6 * ["POST"]
    assert found[1:] == await bench.entries()
    for peer in (operator("viewer", "rollout-owner", "publisher:*"), host("w1"), None):
        async with bench.of(peer) as http:
            assert (await http.get("/v1/audit")).status_code in (401, 403)


async def test_a_large_body_has_its_digest_and_no_parameters(bench: Bench) -> None:
    body = msgspec.json.encode({**HELLO_1, "check_index": "x" * 2_000})
    async with bench.of(ANN) as http:
        await http.post("/v1/rollouts", content=body)
    _, done = await bench.entries()
    assert (done.body_digest, done.parameters) == (digest_of(body), "")
