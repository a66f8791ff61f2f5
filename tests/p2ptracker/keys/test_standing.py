"""Who takes ROLLOUTs over approves anew what stands: nothing that settled is orphaned."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.gossip.state import item_of
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.keys import RotationAnswer, RotationRequest
from p2pdeploy.messages.orders import Revert, Rollout
from p2pdeploy.trust.envelope import Envelope, seal
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.keys.rotation import Waits
from p2ptracker.keys.status import key_views
from tests.p2ptracker.approvers import refused, request_by
from tests.p2ptracker.rollout_bench import API, DB_CELL, WEB_CELL, World, asks

HELLO_1, HELLO_2, API_1 = RolloutId("hello-1"), RolloutId("hello-2"), RolloutId("api-1")
NOW = Waits(step_s=0.0, credentials_s=0.0)
PEOPLE = [SigningKey.generate(role="rollout") for _ in range(3)]
OTHERS = [SigningKey.generate(role="rollout") for _ in range(2)]


@pytest.fixture
async def world(world: World) -> World:
    """hello 1 runs everywhere in the web cell, approved by the control plane alone."""
    await world.complete("1")
    return world


async def rotate(
    world: World, people: Sequence[SigningKey], *, threshold: int = 2
) -> RotationAnswer:
    request = RotationRequest(
        public_keys=tuple(key.public_key for key in people), threshold=threshold
    )
    answer = await world.plane.keys.rotate("rollout", request)
    tell(world)
    return answer


async def finish(world: World, *, abandon: bool = False) -> str:
    world.plane.keys.waits = NOW
    request = RotationRequest(finish=True, abandon_standing=abandon)
    answer = await world.plane.keys.rotate("rollout", request)
    tell(world)
    return answer.state


def tell(world: World) -> None:
    """The hosts know what is published, and forget what they remembered by other keys."""
    world.keys.verifier.use(world.plane.repository.order_keys)
    world._states.clear()


async def sign(world: World, rollout: RolloutId, *people: SigningKey) -> str:
    state = ""
    for person in people:
        proposal = await world.desk.proposal(rollout)
        state = (await world.desk.sign(rollout, request_by(person, proposal))).state
    return state


async def lacking(world: World) -> list[tuple[str, list[str]]]:
    return [(each.rollout, each.signed_by) for each in await world.desk.standing()]


async def too_early(world: World, **how: bool) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        await finish(world, **how)
    return raised.value


async def test_what_stands_is_approved_anew_and_outlives_the_rotation(world: World) -> None:
    answer = await rotate(world, PEOPLE)
    assert answer.unsigned_rollouts == ("hello-1",)
    error = await too_early(world)
    assert error.code == "standing-unsigned"
    assert "hello-1" in error.message
    assert "p2pctl rollout sign --standing" in (error.hint or "")
    assert await lacking(world) == [("hello-1", [])]
    proposal = await world.desk.proposal(HELLO_1)
    assert proposal.standing, "p2pctl says that it stands already"
    assert await sign(world, HELLO_1, PEOPLE[0]) == "complete"
    assert (await too_early(world)).code == "standing-unsigned", "one of two is not enough"
    assert await sign(world, HELLO_1, PEOPLE[2]) == "complete"
    assert await lacking(world) == []
    assert await finish(world) == "done"
    order = world.order("rollout/hello")
    assert isinstance(order, Rollout), "hosts that know nothing but the people take it"
    assert msgspec.msgpack.encode(order) == proposal.payloads[0], "the very bytes that stood"
    await world.restart()
    tell(world)
    assert world.order("rollout/hello") == order
    world.say(["w1", "w2", "w3", "w4"], world.plan().plan_seq, Rank.HEALTHY, runs="1")
    assert (await world.desk.steer(HELLO_1, "revert")).state == "rolling-back"
    assert isinstance(world.order("revert/hello"), Revert)


async def test_hosts_believe_it_all_the_time(world: World) -> None:
    """By the keys of before, by both, and by those who took over; signed in part or whole."""
    before = world.order("rollout/hello")
    old = world.plane.repository.order_keys
    await rotate(world, PEOPLE)
    for person in PEOPLE[:2]:
        await sign(world, HELLO_1, person)
        for known in (old, world.plane.repository.order_keys):
            world.keys.verifier.use(known)
            world._states.clear()
            assert world.order("rollout/hello") == before


async def test_signatures_are_kept_through_a_restart(world: World) -> None:
    await rotate(world, PEOPLE)
    await sign(world, HELLO_1, PEOPLE[0])
    await world.restart()
    tell(world)
    assert await lacking(world) == [("hello-1", [PEOPLE[0].key_id])]
    assert await world.plane.keys.unsigned_rollouts("rollout") == (HELLO_1,)
    await sign(world, HELLO_1, PEOPLE[1])
    assert await world.plane.keys.unsigned_rollouts("rollout") == ()
    await world.restart()
    tell(world)
    assert await finish(world) == "done"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_the_end_that_comes_by_itself_waits_and_the_status_says_for_what(
    world: World,
) -> None:
    keys = world.plane.keys
    await rotate(world, PEOPLE)
    keys.waits = NOW
    with pytest.raises(RefusedError):
        await keys._step("rollout")
    unsigned = await keys.unsigned_rollouts("rollout")
    views = key_views(world.folder, world.plane.repository.repository, keys, unsigned)
    assert {v.role: v.unsigned_rollouts for v in views if v.unsigned_rollouts} == {
        "rollout": ("hello-1",)
    }
    await sign(world, HELLO_1, *PEOPLE[:2])
    await keys._step("rollout")
    assert keys.under_way("rollout") is None


async def test_one_person_who_signs_twice_counts_once(world: World) -> None:
    await rotate(world, PEOPLE)
    await sign(world, HELLO_1, PEOPLE[0], PEOPLE[0])
    assert await lacking(world) == [("hello-1", [PEOPLE[0].key_id])]


async def test_only_who_takes_over_signs_and_only_what_stands(world: World) -> None:
    own = world.plane.trust.keys["rollout"]
    await rotate(world, PEOPLE)
    proposal = await world.desk.proposal(HELLO_1)
    for key in (own, SigningKey.generate(role="rollout")):
        await refused(world, "not-a-signer", HELLO_1, request_by(key, proposal))
    wrong = msgspec.structs.replace(request_by(PEOPLE[0], proposal), signatures=[b"x" * 64])
    await refused(world, "bad-signature", HELLO_1, wrong)
    other = msgspec.structs.replace(request_by(PEOPLE[1], proposal), key_id=PEOPLE[0].key_id)
    await refused(world, "bad-signature", HELLO_1, other)
    assert await lacking(world) == [("hello-1", [])]


async def test_without_a_rotation_nothing_is_signed_anew(world: World) -> None:
    assert await lacking(world) == []
    with pytest.raises(RefusedError) as raised:
        await world.desk.proposal(HELLO_1)
    assert raised.value.code == "not-unsigned"


async def test_an_older_rollout_stands_no_more(world: World) -> None:
    await world.complete("2")
    await rotate(world, PEOPLE)
    assert await lacking(world) == [("hello-2", [])]
    with pytest.raises(RefusedError) as raised:
        await world.desk.proposal(HELLO_1)
    assert raised.value.code == "not-unsigned"


async def test_every_service_and_cell_is_waited_for(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.complete("1", API)
    await world.desk.apply(asks("2", hosts=("w1", "d1")))
    world.say(["w1"], world.plan().plan_seq, Rank.HEALTHY, runs="2")
    world.say(["d1"], world.plan(cell=DB_CELL).plan_seq, Rank.HEALTHY, runs="2", cell=DB_CELL)
    await world.look()
    assert await world.state("hello-2") == "complete"
    await rotate(world, PEOPLE)
    assert await lacking(world) == [("api-1", []), ("hello-2", [])]
    assert len((await world.desk.proposal(HELLO_2)).payloads) == 2
    await sign(world, HELLO_2, *PEOPLE[:2])
    assert await lacking(world) == [("api-1", [])]
    assert "api-1" in (await too_early(world)).message
    await sign(world, API_1, *PEOPLE[1:])
    assert await finish(world) == "done"
    for key, cell in (("hello", WEB_CELL), ("hello", DB_CELL), ("api", WEB_CELL)):
        assert isinstance(world.order(f"rollout/{key}", cell), Rollout)


async def test_a_rollout_under_way_is_approved_anew_too_and_runs_on(world: World) -> None:
    await world.apply("2")
    await rotate(world, PEOPLE)
    assert (await too_early(world)).code == "rollout-under-way"
    assert await sign(world, HELLO_2, *PEOPLE[:2]) == "running"
    assert await finish(world) == "done"
    assert await world.state("hello-2") == "running"
    hosts = ["w1", "w2", "w3", "w4"]
    world.say(hosts, world.plan().plan_seq, Rank.HEALTHY, runs="2")
    await world.look()
    assert await world.state("hello-2") == "complete"


async def test_people_leave_the_role_to_other_people(world: World) -> None:
    """One stays, so that what it signed counts; what left before leaves the envelope."""
    own = world.plane.trust.keys["rollout"]
    await rotate(world, PEOPLE)
    await sign(world, HELLO_1, *PEOPLE[:2])
    await finish(world)
    staying = [PEOPLE[0], *OTHERS]
    answer = await rotate(world, staying, threshold=3)
    assert answer.unsigned_rollouts == ("hello-1",)
    assert await lacking(world) == [("hello-1", [PEOPLE[0].key_id])]
    await sign(world, HELLO_1, OTHERS[0])
    assert (await too_early(world)).code == "standing-unsigned"
    await sign(world, HELLO_1, OTHERS[1])
    assert await finish(world) == "done"
    item = world.plane.cells.get(WEB_CELL).state.get("rollout/hello")
    assert item is not None
    signers = {k for k, _ in msgspec.msgpack.decode(item.envelope, type=Envelope).signatures}
    assert signers == {key.key_id for key in (*PEOPLE[:2], *OTHERS)}
    assert own.key_id not in signers, "else an envelope would be full one day"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_who_goes_on_with_enough_signatures_signs_nothing_again(world: World) -> None:
    await rotate(world, PEOPLE)
    await sign(world, HELLO_1, *PEOPLE[:2])
    await finish(world)
    assert (await rotate(world, PEOPLE[:2])).unsigned_rollouts == ()
    assert await finish(world) == "done"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_the_control_plane_takes_back_over_without_anybodys_signature(world: World) -> None:
    await rotate(world, PEOPLE)
    await sign(world, HELLO_1, *PEOPLE[:2])
    await finish(world)
    answer = await world.plane.keys.rotate("rollout", RotationRequest())
    assert answer.unsigned_rollouts == ()
    assert await finish(world) == "done"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_what_a_thief_brought_into_a_cell_is_not_waited_for(world: World) -> None:
    stolen = world.plane.trust.keys["rollout"]
    order = world.order("rollout/hello")
    assert isinstance(order, Rollout)
    forged = msgspec.structs.replace(order, rollout_id=HELLO_2, rollout_seq=order.rollout_seq + 1)
    await rotate(world, PEOPLE)
    cell, item = world.plane.cells.get(WEB_CELL), item_of(forged, seal(forged, stolen))
    cell.put(item, forged, 0.0)
    cell._unsaved[item.key] = (item, forged, 0.0)
    await world.plane.cells.store_unsaved()
    assert await lacking(world) == []
    assert await finish(world) == "done"


async def test_what_stands_can_be_abandoned_and_is_not_reverted_then(world: World) -> None:
    await rotate(world, PEOPLE)
    assert await finish(world, abandon=True) == "done"
    for _ in range(2):
        assert world.order("rollout/hello") is None
        with pytest.raises(RefusedError) as raised:
            await world.desk.steer(HELLO_1, "revert")
        assert raised.value.code == "unbelieved"
        assert "roll the older version out" in (raised.value.hint or "")
        assert await world.state("hello-1") == "complete", "it does not jam"
        await world.restart()
        tell(world)
        world.sync()


async def test_nothing_is_abandoned_at_the_beginning(world: World) -> None:
    with pytest.raises(RefusedError) as raised:
        await world.plane.keys.rotate("rollout", RotationRequest(abandon_standing=True))
    assert raised.value.code == "no-finish"


async def test_an_envelope_has_room_for_so_many_signatures(world: World) -> None:
    crowd = [SigningKey.generate(role="rollout") for _ in range(16)]
    await rotate(world, crowd, threshold=16)
    await sign(world, HELLO_1, *crowd[:15])
    proposal = await world.desk.proposal(HELLO_1)
    await refused(world, "too-many-signatures", HELLO_1, request_by(crowd[15], proposal))
    assert isinstance(world.order("rollout/hello"), Rollout)
