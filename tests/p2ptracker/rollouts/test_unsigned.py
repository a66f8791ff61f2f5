"""Rollouts that people must sign: nothing begins before enough of them did."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import Envelope
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.rollouts.steering import Verb
from p2ptracker.rollouts.survey import Survey, Surveyor
from tests.p2ptracker.approvers import Approvers, reason, refused, request_by
from tests.p2ptracker.rollout_bench import DB_CELL, EVERYBODY, HELLO, World, asks

HELLO_1 = RolloutId("hello-1")
DAY_S = 86_400.0


async def test_one_key_that_is_enough_starts_a_rollout_at_once(world: World) -> None:
    assert (await world.apply("1")).state == "running"


async def test_nothing_reaches_a_cell_before_enough_people_signed(
    world: World, approvers: Approvers
) -> None:
    view = await world.apply("1")
    assert (view.state, view.reasons[0].code) == ("unsigned", "unsigned")
    assert view.reasons[0].message.startswith("0 of 2 signatures: p2pctl rollout sign hello-1")
    assert sum(domain.total for domain in view.fault_domains) == 4
    view = await approvers.sign("hello-1", 0)
    assert (view.state, view.reasons[0].message[:6]) == ("unsigned", "1 of 2")
    await world.look(60)
    for key in ("rollout/hello", "plan/hello", "roster/hello", "revert/hello", "go"):
        assert world.order(key) is None, key


async def test_the_second_signature_starts_it_with_both_on_the_order(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    proposal = await approvers.proposal("hello-1")
    view = await approvers.sign("hello-1", 2)
    assert view.state == "running"
    assert isinstance(world.order("rollout/hello"), Rollout), "opened by the hosts' own verifier"
    item = world.plane.cells.get(world.plan().cell).state.get("rollout/hello")
    assert item is not None
    envelope = msgspec.msgpack.decode(item.envelope, type=Envelope)
    assert envelope.payload == proposal.payloads[0], "the very bytes that were signed"
    signers = {approvers.people[0].key_id, approvers.people[2].key_id}
    assert {key_id for key_id, _ in envelope.signatures} == signers
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state("hello-1") == "complete"


async def test_one_person_who_signs_twice_counts_once(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    assert (await approvers.sign("hello-1", 0)).state == "unsigned"
    assert (await approvers.proposal("hello-1")).signed_by == [approvers.people[0].key_id]


async def test_the_control_planes_key_counts_once_where_hosts_know_it(world: World) -> None:
    approvers = Approvers(world, and_control_plane=True)
    view = await world.apply("1")
    assert (view.state, view.reasons[0].message[:6]) == ("unsigned", "1 of 2")
    assert (await approvers.sign("hello-1", 1)).state == "running"


async def test_one_person_is_enough_when_one_is_asked_for(world: World) -> None:
    approvers = Approvers(world, threshold=1)
    assert (await world.apply("1")).state == "unsigned", "but not the control plane's own key"
    assert (await approvers.sign("hello-1", 1)).state == "running"


async def test_a_key_that_is_not_the_roles_is_refused(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    proposal = await approvers.proposal("hello-1")
    for key in (approvers.own, SigningKey.generate(role="rollout"), world.keys.roles["deployer"]):
        await refused(world, "not-a-signer", "hello-1", request_by(key, proposal))
    assert (await approvers.proposal("hello-1")).signed_by == []


async def test_a_signature_for_one_rollout_does_not_serve_another(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    signed = request_by(approvers.people[0], await approvers.proposal("hello-1"))
    await world.desk.steer(HELLO_1, "abort")
    await world.apply("1")
    await refused(world, "bad-signature", "hello-2", signed)
    assert (await approvers.proposal("hello-2")).signed_by == []


async def test_a_signature_that_leaves_a_cell_out_is_refused(
    world: World, approvers: Approvers
) -> None:
    world.sync(cell=DB_CELL)
    await world.desk.apply(asks(hosts=("w1", "d1")))
    proposal = await approvers.proposal("hello-1")
    assert len(proposal.payloads) == 2
    whole = request_by(approvers.people[0], proposal)
    for wrong in (whole.signatures[:1], whole.signatures[::-1], [*whole.signatures, b"x" * 64]):
        request = msgspec.structs.replace(whole, signatures=wrong)
        await refused(world, "bad-signature", "hello-1", request)
    await world.desk.sign(HELLO_1, whole)
    assert (await approvers.sign("hello-1", 1)).state == "running"
    for cell in (None, DB_CELL):
        order = world.order("rollout/hello", *([cell] if cell else []))
        assert isinstance(order, Rollout)


async def test_a_second_rollout_of_the_service_waits_its_turn(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    with pytest.raises(RefusedError) as raised:
        await world.apply("2")
    assert raised.value.code == "rollout-under-way"
    assert (await world.apply("1", "api")).state == "unsigned"


async def test_a_rollout_that_waits_can_be_aborted_and_nothing_else(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    signed = request_by(approvers.people[0], await approvers.proposal("hello-1"))
    verbs: tuple[Verb, ...] = ("pause", "resume", "revert")
    for verb in verbs:
        with pytest.raises(RefusedError) as raised:
            await world.desk.steer(HELLO_1, verb)
        assert raised.value.code == "wrong-state"
    assert (await world.desk.steer(HELLO_1, "abort")).state == "aborted"
    await refused(world, "not-unsigned", "hello-1", signed)
    assert (await world.apply("2")).id == "hello-2"


async def test_what_nobody_signs_lapses_after_a_day(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await world.look(DAY_S - 1)
    assert await reason(world) == ("unsigned", "unsigned")
    late = request_by(approvers.people[1], await approvers.proposal("hello-1"))
    world.now += 1
    await refused(world, "approval-lapsed", "hello-1", late)
    await world.look()
    assert await reason(world) == ("failed", "approval-lapsed")
    assert (await world.desk.get(HELLO_1)).finished_at is not None


async def test_it_waits_on_through_a_restart(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await world.restart()
    approvers.tell()
    world.sync()
    await world.look()
    assert await reason(world) == ("unsigned", "unsigned")
    assert (await approvers.sign("hello-1", 1)).state == "running"


async def test_keys_that_left_the_role_count_no_more(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    approvers.use(approvers.people[1:], threshold=2)
    assert (await approvers.proposal("hello-1")).signed_by == []
    assert (await approvers.sign("hello-1", 1)).state == "unsigned"
    assert (await approvers.sign("hello-1", 2)).state == "running"


async def test_keys_that_leave_the_role_while_it_is_planned_anew_count_no_more(
    world: World, approvers: Approvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    survey = Surveyor.survey

    async def and_rotate(self: Surveyor, request: RolloutRequest) -> Survey:
        approvers.use(approvers.people[1:], threshold=2)
        return await survey(self, request)

    monkeypatch.setattr(Surveyor, "survey", and_rotate)
    assert (await approvers.sign("hello-1", 1)).state == "unsigned"
    assert (await approvers.proposal("hello-1")).signed_by == [approvers.people[1].key_id]
    assert (await approvers.sign("hello-1", 2)).state == "running"


async def test_it_begins_by_itself_when_fewer_signatures_are_asked_for(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    approvers.use(approvers.people, threshold=1)
    await world.look()
    assert await world.state("hello-1") == "running"


async def test_a_plan_says_that_it_would_wait_and_keeps_its_index(
    world: World, approvers: Approvers
) -> None:
    plan = await world.desk.plan(asks("1"))
    assert [reason.code for reason in plan.reasons] == ["unsigned"]
    assert "2 approvers" in plan.reasons[0].message
    accepted = await world.desk.apply(asks("1", check_index=plan.check_index))
    assert accepted.state == "unsigned"


async def test_what_waits_for_signatures_stays_signed_by_its_publishers(
    world: World, approvers: Approvers
) -> None:
    assert world.desk.versions_in_use(HELLO) == frozenset()
    await world.apply("1")
    assert world.desk.versions_in_use(HELLO) == {"1"}
    await world.desk.steer(HELLO_1, "abort")
    assert world.desk.versions_in_use(HELLO) == frozenset()


async def test_why_answers_while_it_waits(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    for host in ("", "w1"):
        assert [reason.code for reason in await world.desk.why(HELLO_1, host)] == ["unsigned"]
