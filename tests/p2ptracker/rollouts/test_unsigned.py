"""Rollouts that people must sign: nothing begins before enough of them did, and only as signed."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa
from trio.testing import MockClock

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId, Version
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.approval import ApprovalRequest
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import Envelope
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.cells.replica import DELEGATE_SILENT_S
from p2ptracker.rollouts.steering import Verb
from p2ptracker.rollouts.survey import Survey, Surveyor
from p2ptracker.storage.releases import find_release
from p2ptracker.storage.schema import releases
from tests.p2ptracker.approvers import Approvers, request_by
from tests.p2ptracker.rollout_bench import DB_CELL, HELLO, WEB_CELL, World, asks

HELLO_1 = RolloutId("hello-1")
DAY_S = 86_400.0


@pytest.fixture
def approvers(world: World) -> Approvers:
    return Approvers(world)


async def reason(world: World, rollout: str = "hello-1") -> tuple[str, str]:
    view = await world.desk.get(RolloutId(rollout))
    return view.state, view.reasons[0].code


async def refused(world: World, code: str, rollout: str, request: ApprovalRequest) -> None:
    with pytest.raises(RefusedError) as raised:
        await world.desk.sign(RolloutId(rollout), request)
    assert raised.value.code == code


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
    hosts = [f"w{n}" for n in range(1, 5)]
    world.say(hosts, world.plan().plan_seq, Rank.HEALTHY, runs="1")
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


async def test_a_host_that_came_back_meanwhile_takes_part_within_the_signed_limit(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    mock_clock.jump(DELEGATE_SILENT_S + 1)  # what delegates saw before is forgotten
    world.sync("w1", "w2")  # one of each fault domain
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    world.sync()
    assert (await approvers.sign("hello-1", 1)).state == "running"
    plan, rollout = world.plan(), world.order("rollout/hello")
    assert isinstance(rollout, Rollout)
    assert sum(domain.size for domain in plan.fault_domains) == 4
    assert plan.max_unavailable == rollout.max_unavailable == 1


async def test_a_cell_in_which_nobody_is_left_alive_is_left_out(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    world.sync(cell=DB_CELL)
    await world.desk.apply(asks(hosts=("w1", "d1")))
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    world.sync()
    view = await approvers.sign("hello-1", 1)
    assert view.state == "running"
    assert {domain.cell for domain in view.fault_domains} == {WEB_CELL}
    assert world.order("rollout/hello", DB_CELL) is None


async def test_it_waits_with_its_signatures_while_nobody_is_alive(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("unsigned", "none-alive")
    await world.look(60)
    await world.restart()  # a control plane that starts has heard nobody yet, either
    approvers.tell()
    await world.look()
    assert await reason(world) == ("unsigned", "none-alive")
    world.sync()
    await world.look()
    assert await world.state("hello-1") == "running"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_another_signature_opens_what_waits_for_hosts(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    await approvers.sign("hello-1", 1)
    world.sync()
    assert (await approvers.sign("hello-1", 2)).state == "running"


async def test_what_waits_for_hosts_ends_when_the_approval_lapses(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    await approvers.sign("hello-1", 1)
    await world.look(DAY_S)
    view = await world.desk.get(HELLO_1)
    assert (view.state, view.reasons[0].code) == ("failed", "approval-lapsed")
    assert "no target host was alive" in view.reasons[0].message
    world.sync()
    await world.look()
    assert world.order("rollout/hello") is None


async def test_what_waits_for_hosts_can_be_aborted_and_keeps_only_signatures_that_count(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    await approvers.sign("hello-1", 1)
    approvers.use(approvers.people[1:], threshold=2)
    assert await reason(world) == ("unsigned", "unsigned")
    world.sync()
    await world.look()
    assert await world.state("hello-1") == "unsigned"
    assert (await world.desk.steer(HELLO_1, "abort")).state == "aborted"


async def test_while_nobody_is_alive_no_look_plans_anything(
    world: World, approvers: Approvers, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    await approvers.sign("hello-1", 1)
    surveys: list[RolloutRequest] = []
    survey = Surveyor.survey

    async def and_count(self: Surveyor, request: RolloutRequest) -> Survey:
        surveys.append(request)
        return await survey(self, request)

    monkeypatch.setattr(Surveyor, "survey", and_count)
    await world.look(1)
    assert surveys == []
    world.sync()
    await world.look(1)
    assert len(surveys) == 1


async def test_the_plan_ends_when_the_approval_does(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await world.look(3600)
    world.sync()
    await approvers.sign("hello-1", 1)
    rollout = world.order("rollout/hello")
    assert isinstance(rollout, Rollout)
    assert world.plan().expires_at == rollout.expires_at


async def test_a_number_that_people_signed_under_is_not_used_again(
    world: World, approvers: Approvers
) -> None:
    numbers: list[int] = []
    for rollout in ("hello-1", "hello-2", "hello-3"):
        await world.apply("1")
        payload = (await approvers.proposal(rollout)).payloads[0]
        numbers.append(msgspec.msgpack.decode(payload, type=Rollout).rollout_seq)
        await approvers.sign(rollout, 0)
        await world.desk.steer(RolloutId(rollout), "abort")
    assert numbers == sorted(set(numbers))


async def test_what_would_go_back_to_another_version_than_was_signed_is_not_started(
    world: World, approvers: Approvers
) -> None:
    await world.apply("2")
    await approvers.sign("hello-1", 0)
    world.say(["w1", "w2", "w3", "w4"], 0, Rank.HEALTHY, runs="1")
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("failed", "stale-approval")
    assert world.order("plan/hello") is None


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


async def test_a_release_that_cannot_be_read_any_more_ends_it_and_nothing_else(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    for file in world.folder.rglob(world.digests[HELLO, "1"]):
        file.unlink()
    approvers.use(approvers.people, threshold=1)
    await world.look()
    assert await reason(world) == ("failed", "stale-approval")


async def test_a_release_that_changed_since_is_not_started(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await _replace_release(world, by="2")
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("failed", "stale-approval")
    assert "apply it again" in view.reasons[0].message
    assert world.order("plan/hello") is None
    assert world.order("rollout/hello") is None


async def _replace_release(world: World, *, by: str) -> None:
    """The registry says that version 1 has other bytes now."""
    other = await world.plane.database.read(lambda c: find_release(c, HELLO, Version(by)))
    assert other is not None
    row = sa.and_(releases.c.service == HELLO, releases.c.version == "1")
    change = sa.update(releases).where(row).values(manifest_digest=other.manifest_digest)
    await world.plane.database.write(lambda c: c.execute(change))
