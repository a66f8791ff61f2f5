"""Signatures on rollouts over HTTP: who may bring them, in what form, and what is on record."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import httpx2
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from p2pdeploy.messages.api import RolloutView
from p2pdeploy.messages.approval import CELLS_APPROVED_MAX, RolloutProposal, StandingView
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.audit.log import AuditLog
from tests.p2ptracker.api.callers import Callers, host, operator
from tests.p2ptracker.approvers import Approvers, request_by
from tests.p2ptracker.rollout_bench import World
from tests.p2ptracker.tracker_bench import code_of

PROPOSAL, SIGNATURES = "/v1/rollouts/hello-1/proposal", "/v1/rollouts/hello-1/signatures"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def api(world: World) -> Callers:
    return Callers(world, AuditLog(world.plane.database, CollectorRegistry(), time.time))


@pytest.fixture
async def owner(api: Callers) -> AsyncGenerator[httpx2.AsyncClient]:
    async with api.of(operator("rollout-owner")) as http:
        yield http


@pytest.fixture
async def approvers(world: World) -> Approvers:
    """Two of three must sign; hello-1 waits for them."""
    people = Approvers(world)
    await world.apply("1")
    return people


async def proposal_from(owner: httpx2.AsyncClient) -> RolloutProposal:
    answer = await owner.get(PROPOSAL)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=RolloutProposal)


async def hand_in(owner: httpx2.AsyncClient, body: bytes) -> httpx2.Response:
    return await owner.post(SIGNATURES, content=body, headers=JSON)


async def test_two_people_sign_and_it_begins(
    owner: httpx2.AsyncClient, approvers: Approvers
) -> None:
    for person, state in ((0, "unsigned"), (1, "running")):
        proposal = await proposal_from(owner)
        assert (proposal.rollout, proposal.threshold) == ("hello-1", 2)
        assert len(proposal.signed_by) == person
        body = msgspec.json.encode(request_by(approvers.people[person], proposal))
        answer = await hand_in(owner, body)
        assert msgspec.json.decode(answer.content, type=RolloutView).state == state
    assert code_of(await owner.get(PROPOSAL)) == (409, "not-unsigned")
    assert code_of(await hand_in(owner, body)) == (409, "not-unsigned")


async def test_what_stands_is_listed_and_signed_while_others_take_over(
    api: Callers, owner: httpx2.AsyncClient, world: World
) -> None:
    await world.complete("1")
    people = [SigningKey.generate(role="rollout") for _ in range(2)]
    publics = tuple(key.public_key for key in people)
    await world.plane.keys.rotate("rollout", RotationRequest(public_keys=publics, threshold=2))
    for signed, person in enumerate(people):
        listed = await owner.get("/v1/rollouts/standing")
        (view,) = msgspec.json.decode(listed.content, type=list[StandingView])
        assert (view.rollout, len(view.signed_by), view.threshold) == ("hello-1", signed, 2)
        proposal = await proposal_from(owner)
        assert len(proposal.standing) == len(proposal.payloads) == 1
        answer = await hand_in(owner, msgspec.json.encode(request_by(person, proposal)))
        assert msgspec.json.decode(answer.content, type=RolloutView).state == "complete"
    assert (await owner.get("/v1/rollouts/standing")).json() == []
    assert code_of(await owner.get(PROPOSAL)) == (409, "not-unsigned")
    async with api.of(operator("viewer")) as http:
        assert (await http.get("/v1/rollouts/standing")).status_code == 403


async def test_only_who_may_roll_out_brings_signatures(
    api: Callers, owner: httpx2.AsyncClient, approvers: Approvers
) -> None:
    body = msgspec.json.encode(request_by(approvers.people[0], await proposal_from(owner)))
    for peer in (operator("viewer"), operator("publisher:*"), host("w1")):
        async with api.of(peer) as http:
            assert (await http.get(PROPOSAL)).status_code == 403
            assert (await hand_in(http, body)).status_code == 403
    assert (await proposal_from(owner)).signed_by == []


async def test_a_malformed_request_signs_nothing(
    owner: httpx2.AsyncClient, approvers: Approvers
) -> None:
    good = msgspec.to_builtins(request_by(approvers.people[0], await proposal_from(owner)))
    wrong: list[dict[str, object]] = [
        {"signatures": []},
        {"signatures": good["signatures"] * (CELLS_APPROVED_MAX + 1)},
        {"signatures": ["AAAA"]},
        {"signatures": [good["signatures"][0][:-4]]},
        {"signatures": good["signatures"][0]},
        {"signatures": ["\0" * 88]},
        {"key_id": 7},
        {"key_id": "rollout/" + "a" * 200},
        {"approve": True},
    ]
    bodies = [msgspec.json.encode({**good, **change}) for change in wrong]
    for body in (*bodies, b"", b"[]", b"[" * 100_000, b"\x93\xc1"):
        answer = await hand_in(owner, body)
        assert code_of(answer) == (400, "bad-request"), body[:80]
    assert (await proposal_from(owner)).signed_by == []


async def test_refusals_have_their_codes(owner: httpx2.AsyncClient, approvers: Approvers) -> None:
    proposal = await proposal_from(owner)
    stranger = msgspec.json.encode(request_by(approvers.own, proposal))
    assert code_of(await hand_in(owner, stranger)) == (409, "not-a-signer")
    good = request_by(approvers.people[0], proposal)
    forged = msgspec.structs.replace(good, signatures=[b"x" * 64])
    answer = await hand_in(owner, msgspec.json.encode(forged))
    assert code_of(answer) == (409, "bad-signature")
    assert code_of(await owner.get("/v1/rollouts/hello-9/proposal")) == (404, "no-rollout")
    answer = await owner.post("/v1/rollouts/hello-9/signatures", json=msgspec.to_builtins(good))
    assert code_of(answer) == (404, "no-rollout")


async def test_who_signed_is_on_record(
    api: Callers, owner: httpx2.AsyncClient, approvers: Approvers
) -> None:
    key = approvers.people[0]
    await hand_in(owner, msgspec.json.encode(request_by(key, await proposal_from(owner))))
    _, begun, done = await api.audit.entries(after=0, limit=10)  # behind whom init made
    assert (begun.step, begun.path, done.step, done.status) == ("begun", SIGNATURES, "done", 200)
    assert key.key_id in done.parameters
