"""Rollouts beside each other: of several services, cells and targets."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.attestation import Rank
from tests.p2ptracker.rollout_bench import API, DB_CELL, EVERYBODY, HELLO, World, inventory

HELLO_1, API_1 = RolloutId("hello-1"), RolloutId("api-1")


async def test_the_second_service_of_a_cell_waits_for_the_first_and_says_so(
    world: World,
) -> None:
    await world.apply("1")
    await world.look()
    await world.apply("1", API)
    await world.look()
    assert world.granted() == {("hello", "activate")}
    view = await world.desk.get(API_1)
    assert (view.state, view.reasons[0].code) == ("planned", "waits-for")
    assert HELLO_1 in view.reasons[0].message
    assert (await world.desk.why(API_1, ""))[0] == view.reasons[0]
    assert "waits-for" not in {r.code for r in (await world.desk.get(HELLO_1)).reasons}
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert world.granted() == {("api", "activate")}
    assert await world.state(API_1) == "running"
    assert "waits-for" not in {r.code for r in (await world.desk.get(API_1)).reasons}


async def test_what_settles_concerns_only_the_hosts_that_were_named(world: World) -> None:
    world.sync("w4")
    await world.apply("1", hosts=("w1", "w4"))
    await world.look()
    world.say(("w1",), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "complete"
    assert world.settled().hosts == ("w1", "w4"), "w4 was down and is to catch up"


async def test_a_rollout_over_two_cells_ends_with_the_last_of_them(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=(*EVERYBODY, "d1"))
    await world.look()
    web, db = world.plan(), world.plan(cell=DB_CELL)
    world.say(EVERYBODY, web.plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "running"
    world.say(("d1",), db.plan_seq, Rank.HEALTHY, runs="1", cell=DB_CELL)
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def test_an_order_names_the_targets_of_its_own_cell_only(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=("d1", "w1"))
    for cell, host in ((DB_CELL, "d1"), (world.plan().cell, "w1")):
        rollout = world.order("rollout/hello", cell)
        assert rollout is not None
        assert rollout.target.hosts == (host,)  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_verb_that_one_cell_refuses_changes_no_other(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=(*EVERYBODY, "d1"))
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    seq = world.plan(cell=DB_CELL).plan_seq
    world.say(("d1",), seq, Rank.HEALTHY, runs="1", cell=DB_CELL)
    await world.look()
    await world.complete("2", HELLO)
    with pytest.raises(RefusedError):
        await world.desk.steer(HELLO_1, "revert")
    assert world.order("abort/hello", DB_CELL) is None
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def test_a_rollout_whose_cell_left_the_inventory_is_shown_as_it_was(world: World) -> None:
    world.sync(cell=DB_CELL)
    view = await world.apply("1", hosts=("d1",))
    await world.stop()
    kept = [host for host in inventory() if host.cell != DB_CELL]
    (world.folder / "inventory.json").write_bytes(msgspec.json.encode(kept))
    await world.start()
    assert (await world.desk.get(HELLO_1)).state == view.state
    assert [v.id for v in await world.desk.history(service="", limit=5, after="")] == [HELLO_1]
    await world.look()
