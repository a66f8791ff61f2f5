"""The steps of a rotation: what the signed document says in each, and when the next may be made."""

from __future__ import annotations

import pytest

from p2pdeploy.trust.certificates import HOST_LIFETIME
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.role_keys import OrderRoles, RoleKeys
from p2ptracker.keys.rotation import (
    Rotation,
    Waits,
    announced_keys,
    begin_rotation,
    due_at,
    finished_keys,
    seal_from,
)

OLD, NEW, ANN, BOB = (bytes([n]) * 32 for n in range(4))
ONE = RoleKeys(threshold=1, public_keys=(OLD,))
PEOPLE = RoleKeys(threshold=2, public_keys=(ANN, BOB))
CURRENT: OrderRoles = dict.fromkeys(ORDER_ROLES, ONE)
WAITS = Waits()


def begun(role: str, keys: RoleKeys, *, current: OrderRoles = CURRENT, is_ours: bool) -> Rotation:
    return begin_rotation(role, keys, current=current, is_ours=is_ours, now=100.0)


def test_the_old_key_counts_until_the_end_and_no_other_role_changes() -> None:
    new = RoleKeys(threshold=1, public_keys=(NEW,))
    rotation = begun("go", new, is_ours=True)
    assert rotation.step == "announced"
    said = announced_keys(CURRENT, rotation)
    assert said == {**CURRENT, "go": RoleKeys(threshold=1, public_keys=(OLD, NEW))}
    assert finished_keys(said, rotation) == {**CURRENT, "go": new}


def test_people_stand_beside_the_old_key_and_take_over_at_once() -> None:
    """One set of keys with one threshold would be too weak or too strict for one of the two."""
    rotation = begun("rollout", PEOPLE, is_ours=False)
    assert rotation.step == "sealing"
    said = announced_keys(CURRENT, rotation)
    assert said == {**CURRENT, "rollout-next": PEOPLE}
    assert finished_keys(said, rotation) == {**CURRENT, "rollout": PEOPLE}


def test_back_from_people_their_threshold_holds_until_the_end() -> None:
    current = {**CURRENT, "rollout": PEOPLE}
    new = RoleKeys(threshold=1, public_keys=(NEW,))
    rotation = begun("rollout", new, current=current, is_ours=True)
    assert rotation.step == "sealing"
    said = announced_keys(current, rotation)
    assert said == {**current, "rollout-next": new}
    assert finished_keys(said, rotation) == {**CURRENT, "rollout": new}


@pytest.mark.parametrize("role", ORDER_ROLES)
def test_hosts_may_miss_two_asks_before_a_step(role: str) -> None:
    rotation = begun(role, RoleKeys(threshold=1, public_keys=(NEW,)), is_ours=True)
    assert due_at(rotation, WAITS) - 100.0 == 3 * WAITS.ask_every_s


def test_the_old_enrol_key_outlives_every_certificate_that_was_valid_with_it() -> None:
    """A host renews before its certificate ends, and gets a credential by the new key then."""
    new = RoleKeys(threshold=1, public_keys=(NEW,))
    enrol = seal_from(begun("enrol", new, is_ours=True), 500.0)
    assert due_at(enrol, WAITS) - 500.0 > HOST_LIFETIME.total_seconds()
    go = seal_from(begun("go", new, is_ours=True), 500.0)
    assert due_at(go, WAITS) - 500.0 == WAITS.step_s


def test_hosts_ask_no_less_often_than_a_step_needs() -> None:
    assert Waits(step_s=15.0).ask_every_s == 5.0
    assert Waits(step_s=86_400.0).ask_every_s == 60.0
