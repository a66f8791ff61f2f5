"""Numbers that a thief's orders took hosts to are counted on from, though his key is gone."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.gossip.state import CellState
from p2pdeploy.ids import ServiceName
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX, NUMBER_MAX
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.messages.orders import Go, Rollout
from p2pdeploy.testing.orders import an_abort
from p2ptracker.keys.rotation import Waits
from p2ptracker.storage.numbers import stored_numbers
from p2ptracker.storage.order_number import OrderNumber
from tests.p2ptracker.rollout_bench import HELLO, WEB_CELL, World

FAR = 10**12


@pytest.fixture
async def world(world: World) -> World:
    await world.complete("1")
    return world


def a_rollout(world: World) -> Rollout:
    order = world.order("rollout/hello")
    assert isinstance(order, Rollout)
    return order


async def rotate_and_restart(world: World, *roles: str) -> None:
    """The keys of *roles* are replaced, and hosts have forgotten what the old ones sealed."""
    await world.plane.cells.store_unsaved()
    world.plane.keys.waits = Waits(step_s=0.0, credentials_s=0.0)
    for role in roles:
        await world.plane.keys.rotate(role, RotationRequest())
        await world.plane.keys._step(role)
        await world.plane.keys._step(role)
        assert world.plane.keys.under_way(role) is None
    await world.restart()
    world._states[WEB_CELL] = CellState(WEB_CELL)
    world.sync()


async def test_a_rollout_is_numbered_above_what_a_stolen_key_signed(world: World) -> None:
    thief = msgspec.structs.replace(a_rollout(world), rollout_seq=FAR, rollout_id="hello-x")
    world.hear(thief)
    await rotate_and_restart(world, "rollout")
    assert world.plane.cells.get(WEB_CELL).order("rollout/hello") is None, "his order is gone"
    await world.apply("2")
    assert a_rollout(world).rollout_seq == FAR + 1


async def test_a_plan_is_numbered_above_what_a_stolen_key_signed(world: World) -> None:
    world.hear(msgspec.structs.replace(world.plan(), plan_seq=FAR))
    await rotate_and_restart(world, "deployer")
    await world.apply("2")
    assert world.plan().plan_seq > FAR


async def test_a_go_is_numbered_above_what_a_stolen_key_signed(world: World) -> None:
    world.hear(Go(cell=WEB_CELL, lease_seq=FAR, issued_at=1.0, not_after=2.0, grants=()))
    await rotate_and_restart(world, "go")
    await world.apply("2")
    await world.look()
    assert world.go().lease_seq > FAR


async def test_what_a_second_word_overtook_before_it_was_stored_counts(world: World) -> None:
    """Both ABORTs stand under one key, and only the one with the higher watermark is stored."""
    for watermark, rollout_seq in ((FAR, FAR), (FAR + 1, 1)):
        forged = an_abort(watermark, service=HELLO)
        world.hear(msgspec.structs.replace(forged, rollout_seq=rollout_seq))
    await world.plane.cells.store_unsaved()
    await world.restart()
    cell = world.plane.cells.get(WEB_CELL)
    assert (cell.plan_seq_max(HELLO), cell.rollout_seq_max(HELLO)) == (FAR + 1, FAR)


@pytest.mark.parametrize("number", [NUMBER_FOLLOWED_MAX + 1, NUMBER_MAX])
async def test_a_number_that_leaves_too_few_hides_none_that_is_counted_on(
    world: World, number: int
) -> None:
    for rollout_seq in (FAR, number):
        world.hear(msgspec.structs.replace(a_rollout(world), rollout_seq=rollout_seq))
    await rotate_and_restart(world, "rollout")
    await world.apply("2")
    assert a_rollout(world).rollout_seq == FAR + 1


async def test_numbers_of_our_own_are_stored_with_the_orders(world: World) -> None:
    stored = await world.plane.database.read(stored_numbers)
    assert (WEB_CELL, OrderNumber("rollout", HELLO, 1)) in stored
    assert (WEB_CELL, OrderNumber("lease", ServiceName(""), world.go().lease_seq)) in stored
    revert_seq = world.plan().plan_seq + 1
    assert (WEB_CELL, OrderNumber("plan", HELLO, revert_seq)) in stored
