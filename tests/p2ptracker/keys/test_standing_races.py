"""Signatures on what stands arrive at the very moment when a rotation ends and abandons it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.cells.standing_rollouts import StandingRollout
from p2ptracker.keys.rotation import Waits
from p2ptracker.keys.standing_orders import Leaving, StandingOrders
from p2ptracker.rollouts.standing import StandingApprovals
from p2ptracker.storage.rollouts import stored_orders
from tests.p2ptracker.approvers import request_by
from tests.p2ptracker.rollout_bench import WEB_CELL, World

HELLO_1 = RolloutId("hello-1")
PEOPLE = [SigningKey.generate(role="rollout") for _ in range(2)]


@pytest.fixture
async def world(world: World) -> World:
    """hello 1 runs, and two people take over who both must sign; so far nobody did."""
    await world.complete("1")
    public_keys = tuple(key.public_key for key in PEOPLE)
    await world.plane.keys.rotate("rollout", RotationRequest(public_keys=public_keys, threshold=2))
    world.plane.keys.waits = Waits(step_s=0.0, credentials_s=0.0)
    return world


async def sign(world: World, person: SigningKey) -> None:
    await world.desk.sign(HELLO_1, request_by(person, await world.desk.proposal(HELLO_1)))


async def abandon(world: World) -> None:
    await world.plane.keys.rotate("rollout", RotationRequest(finish=True, abandon_standing=True))


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, do: Callable[[], Awaitable[None]]
) -> None:
    """Once, when *name* of *owner* has found what it goes by, somebody does something else."""
    real = getattr(owner, name)

    async def found(*args: object, **how: object) -> Leaving | list[StandingRollout]:
        answer = await real(*args, **how)
        monkeypatch.undo()
        await do()
        return answer

    monkeypatch.setattr(owner, name, found)


async def stands(world: World) -> bool:
    """Whether it does, which memory and database must say alike."""
    kept = any(row.key == "rollout/hello" for row in await world.plane.database.read(stored_orders))
    cell = world.plane.cells.get(WEB_CELL)
    assert (cell.state.get("rollout/hello") is not None) == kept
    await world.restart()
    order = world.plane.cells.get(WEB_CELL).order("rollout/hello")
    assert isinstance(order, Rollout) == kept, "the same after a restart"
    return kept


async def test_what_the_last_person_signs_while_the_rest_is_looked_at_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign(world, PEOPLE[0])
    meanwhile(monkeypatch, StandingOrders, "leaving", lambda: sign(world, PEOPLE[1]))
    await abandon(world)
    assert await stands(world)


async def test_what_too_few_signed_by_then_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, StandingOrders, "leaving", lambda: sign(world, PEOPLE[0]))
    await abandon(world)
    assert not await stands(world)


async def test_a_signature_on_what_was_abandoned_meanwhile_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign(world, PEOPLE[0])
    proposal = await world.desk.proposal(HELLO_1)
    meanwhile(monkeypatch, StandingApprovals, "_lacking_of", lambda: abandon(world))
    with pytest.raises(RefusedError) as raised:
        await world.desk.sign(HELLO_1, request_by(PEOPLE[1], proposal))
    assert raised.value.code == "stale-proposal"
    assert not await stands(world)
