"""A kill or a failing disk between any two writes loses no key of orders that is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pdeploy.errors import ConfigError, UnavailableError
from p2pdeploy.ids import Version
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.messages.orders import Go
from p2pdeploy.testing.orders import a_plan, rollout_of
from p2pdeploy.trust.releases.reading import order_keys_of
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority import next_keys
from p2ptracker.control_plane import ControlPlane
from p2ptracker.keys import rotator
from p2ptracker.keys.publishing import OrderKeyPublisher
from p2ptracker.keys.rotation import Waits
from p2ptracker.keys.standing_orders import StandingOrders
from p2ptracker.rollouts.approval import RolloutSigners
from p2ptracker.storage.rollouts import save_orders
from tests.p2ptracker.lives import READ_ONLY, Killed, a_life, before_and_after, failing
from tests.p2ptracker.rollout_bench import HELLO, WEB_CELL

ROLLOUT = rollout_of(a_plan())
GO = Go(cell=WEB_CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
ASKED, FINISH = RotationRequest(), RotationRequest(finish=True)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    before_and_after(
        (rotator, "make_next_key"),
        (OrderKeyPublisher, "publish"),
        (StandingOrders, "seal_anew"),
        (Path, "replace"),
        (next_keys, "_sync"),
        (StandingOrders, "leaving"),
        (rotator, "forget_rotation"),
        (StandingOrders, "forget_refused"),
    ),
)
async def test_a_kill_between_two_writes_loses_no_key_of_orders(
    folder: Path, owner: object, name: str, after: bool
) -> None:
    async with a_life(folder) as plane:
        await issue_go(plane)
        await rotate_until_killed(plane, "go", owner, name, after=after)
    for _ in range(2):
        async with a_life(folder) as plane:
            await rotate_to_the_end(plane, "go")
            require_known(plane, "go")
            assert plane.cells.get(WEB_CELL).order("go") == GO, "nothing that stands was forgotten"


@pytest.mark.parametrize(("owner", "name"), [(Path, "replace"), (next_keys, "_sync")])
async def test_a_rename_that_failed_is_made_before_the_rotation_ends(
    folder: Path, owner: object, name: str
) -> None:
    async with a_life(folder) as plane:
        await issue_go(plane)
        await plane.keys.rotate("go", ASKED)
        with failing(READ_ONLY, owner, name):
            with pytest.raises(UnavailableError):
                await plane.keys._step("go")
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    await plane.keys._step("go")
                with pytest.raises(UnavailableError):
                    await plane.keys.rotate("go", FINISH)
            assert plane.keys.under_way("go") is not None
        await plane.keys._step("go")
        assert plane.keys.under_way("go") is None
        require_known(plane, "go")
        assert plane.cells.get(WEB_CELL).order("go") == GO
    async with a_life(folder) as plane:
        require_known(plane, "go")
        assert plane.cells.get(WEB_CELL).order("go") == GO


async def test_a_rename_that_failed_is_made_before_the_next_step_is_due(folder: Path) -> None:
    async with a_life(folder) as plane:
        await plane.keys.rotate("go", ASKED)
        before = plane.trust.keys["go"]
        with failing(READ_ONLY, Path, "replace"), pytest.raises(UnavailableError):
            await plane.keys._step("go")
        assert plane.trust.keys["go"] is before
        plane.keys.waits = Waits()
        await plane.keys._step("go")
        assert plane.trust.keys["go"] is not before
        assert plane.keys.under_way("go") is not None


async def test_the_control_plane_takes_rollouts_back_though_its_disk_refused_at_first(
    folder: Path,
) -> None:
    async with a_life(folder) as plane:
        await leave_to_people(plane)
        assert "rollout" not in plane.trust.keys
        with failing(READ_ONLY, Path, "replace"):
            with pytest.raises(UnavailableError):
                await plane.keys.rotate("rollout", ASKED)
            with pytest.raises(UnavailableError):
                await plane.keys._step("rollout")
        await plane.keys._step("rollout")
        assert plane.keys.under_way("rollout") is None
        require_known(plane, "rollout")


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    before_and_after(
        (OrderKeyPublisher, "publish"),
        (Path, "replace"),
        (next_keys, "_sync"),
        (StandingOrders, "seal_anew"),
        (rotator, "forget_rotation"),
        (StandingOrders, "forget_refused"),
    ),
)
async def test_a_kill_while_rollouts_are_taken_back_from_people_loses_no_key(
    folder: Path, owner: object, name: str, after: bool
) -> None:
    async with a_life(folder) as plane:
        await leave_to_people(plane)
        await rotate_until_killed(plane, "rollout", owner, name, after=after)
    for _ in range(2):
        async with a_life(folder) as plane:
            await rotate_to_the_end(plane, "rollout")
            require_known(plane, "rollout")


@pytest.mark.parametrize("after", [False, True])
async def test_a_key_that_a_kill_left_here_approves_nothing_once_people_do(
    folder: Path, after: bool
) -> None:
    async with a_life(folder) as plane:
        with failing(Killed(), rotator, "drop_key", after=after), pytest.raises(Killed):
            await leave_to_people(plane)
    async with a_life(folder) as plane:
        assert plane.trust.paths.key("rollout").exists() != after
        signers = RolloutSigners(plane.verifier, plane.trust.keys)
        approval = signers.ask(RolloutRequest(service=HELLO, version=Version("2")), [ROLLOUT])
        assert (signers.threshold, approval.signatures) == (2, {})
        await rotate_to_the_end(plane, "rollout")
        require_known(plane, "rollout")


async def leave_to_people(plane: ControlPlane) -> None:
    people = tuple(SigningKey.generate(role="rollout").public_key for _ in range(2))
    await plane.keys.rotate("rollout", RotationRequest(public_keys=people, threshold=2))
    await plane.keys._step("rollout")


async def test_another_key_in_the_place_of_the_one_that_was_announced_is_not_used(
    folder: Path,
) -> None:
    async with a_life(folder) as plane:
        await plane.keys.rotate("go", ASKED)
        before = plane.trust.keys["go"]
        next_keys.make_next_key(plane.trust.paths, "go")
        with pytest.raises(ConfigError) as raised:
            await plane.keys._step("go")
        assert raised.value.code == "wrong-order-key"
        assert plane.trust.keys["go"] is before
        require_known(plane, "go")


async def issue_go(plane: ControlPlane) -> None:
    sealed = plane.cells.seal(WEB_CELL, [GO])
    await plane.database.write(lambda connection: save_orders(connection, sealed.rows))
    plane.cells.issue(sealed)


async def rotate_until_killed(
    plane: ControlPlane, role: str, owner: object, name: str, *, after: bool
) -> None:
    """A rotation in which the process dies before or after *owner* has run *name*."""
    with failing(Killed(), owner, name, after=after), pytest.raises(Killed):
        await rotate_to_the_end(plane, role)


async def rotate_to_the_end(plane: ControlPlane, role: str) -> None:
    """Begin a rotation unless one is under way, and make every step of it."""
    if plane.keys.under_way(role) is None:
        await plane.keys.rotate(role, ASKED)
    while plane.keys.under_way(role) is not None:
        await plane.keys._step(role)


def require_known(plane: ControlPlane, role: str) -> None:
    """The key that signs is one that the targets document names, and its file has it."""
    own, known = plane.trust.keys[role], order_keys_of(plane.repository.repository.targets)
    assert own.public_key in known[role].public_keys
    assert plane.trust.paths.key(role).read_bytes() == own.to_pem()
