"""The number of a ROLLOUT only rises: over cells, and after an older database came back."""

from __future__ import annotations

import shutil

from p2pdeploy.ids import CellId
from p2pdeploy.messages.orders import Abort, Rollout
from p2pdeploy.planning.conducted import Conducted
from p2ptracker.rollouts.draft import next_rollout_seq
from tests.p2ptracker.rollout_bench import DB_CELL, HELLO, WEB_CELL, World


def rollout_in(world: World, cell: CellId = WEB_CELL) -> Rollout:
    order = world.order("rollout/hello", cell)
    assert isinstance(order, Rollout)
    return order


async def test_a_rollout_has_the_same_number_in_each_of_its_cells(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=("d1", "w1"))
    web, db = rollout_in(world), rollout_in(world, DB_CELL)
    assert (web.cell, db.cell) == (WEB_CELL, DB_CELL)
    assert web.rollout_seq == db.rollout_seq == 1


async def test_the_next_rollout_has_a_higher_number_in_whatever_cell_it_is(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.complete("1")
    await world.complete("2")
    await world.apply("2", hosts=("d1",))
    assert rollout_in(world, DB_CELL).rollout_seq == rollout_in(world).rollout_seq + 1 == 3


async def test_a_rollout_after_a_restored_database_is_newer_than_what_the_cell_holds(
    world: World,
) -> None:
    await world.complete("1")
    data, backup = world.folder / "tracker", world.folder / "backup"
    await world.stop()
    shutil.copytree(data, backup)
    await world.start()
    world.sync()
    await world.complete("2")
    held = rollout_in(world).rollout_seq
    await world.stop()
    shutil.rmtree(data)
    backup.rename(data)
    await world.start()
    world.sync()
    await world.apply("1")
    assert rollout_in(world).rollout_seq == held + 1


async def test_an_abort_names_the_rollout_of_its_plan(world: World) -> None:
    view = await world.apply("1")
    await world.desk.steer(view.id, "abort")
    abort = world.order("abort/hello")
    assert isinstance(abort, Abort)
    assert abort.rollout_seq == rollout_in(world).rollout_seq
    assert world.plane.cells.get(WEB_CELL).rollout_seq_max(HELLO) == abort.rollout_seq


async def test_a_rollout_is_newer_than_any_that_was_aborted_without_our_knowing(
    world: World,
) -> None:
    abort = Abort(
        cell=WEB_CELL, service=HELLO, watermark=1, rollout_seq=9, code="operator", reason="-"
    )
    world.hear(abort)
    await world.apply("1")
    assert rollout_in(world).rollout_seq == 10


def test_the_first_number_is_1_and_what_any_cell_has_seen_counts() -> None:
    assert next_rollout_seq(HELLO, [Conducted(cell=WEB_CELL)], []) == 1
    assert next_rollout_seq(HELLO, [Conducted(cell=WEB_CELL)], [7, 3]) == 8
