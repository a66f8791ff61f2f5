"""Renewal in time, again and again until it works, and never all hosts at once."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio

from p2pdaemon.keep_identity import IdentityKeeper, renewal_process
from p2pdaemon.renewal_schedule import RETRY_FIRST_S, RETRY_MAX_S, RenewalSchedule
from p2pdeploy.errors import UnavailableError
from p2pdeploy.trust.host_identity import Validity

DAY_S = 86_400.0


def test_renewal_is_at_half_of_the_life_and_spread() -> None:
    schedule = RenewalSchedule(random.Random(1))
    times = [schedule.due_at(Validity(1000.0, 1000.0 + DAY_S)) for _ in range(500)]
    assert min(times) >= 1000 + 0.4 * DAY_S
    assert max(times) <= 1000 + 0.6 * DAY_S
    assert max(times) - min(times) > 0.15 * DAY_S


def test_an_identity_of_unknown_age_is_renewed_at_once() -> None:
    assert RenewalSchedule(random.Random(1)).due_at(None) == 0.0


def test_pauses_grow_to_a_bound_and_stay_apart() -> None:
    schedule = RenewalSchedule(random.Random(1))
    pauses = [schedule.pause_s() for _ in range(200)]
    assert max(pauses) <= RETRY_MAX_S
    assert min(pauses) >= RETRY_FIRST_S
    assert len(set(pauses[50:])) > 100
    schedule.due_at(None)
    assert schedule.pause_s() <= 3 * RETRY_FIRST_S, "after a renewal they begin anew"


def peak(times: list[float]) -> int:
    """The most in any one second."""
    return max(Counter(int(at) for at in times).values())


class ControlPlane:
    """Down at first; remembers when hosts asked, and when they got an answer."""

    def __init__(self, down_until_s: float) -> None:
        self.down_until_s = down_until_s
        self.asked_at: list[float] = []
        self.renewed_at: list[float] = []

    async def renew(self) -> None:
        now = trio.current_time()
        self.asked_at.append(now)
        if now < self.down_until_s:
            raise UnavailableError("down")
        self.renewed_at.append(now)


async def test_a_healthy_fleet_renews_spread_over_hours(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    control = ControlPlane(began)
    fresh = Validity(began, began + DAY_S)

    async def fresh_once() -> Validity:
        return fresh

    async def renew_once() -> None:
        await control.renew()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(300):
            rng = random.Random(number)
            keeper = IdentityKeeper(fresh_once, renew_once, rng, trio.current_time)
            nursery.start_soon(keeper.keep_identity, trio.lowlevel.checkpoint)
        await trio.sleep(0.6 * DAY_S + 1)
        nursery.cancel_scope.cancel()

    assert len(control.renewed_at) == 300
    assert min(control.renewed_at) >= began + 0.4 * DAY_S
    assert peak(control.renewed_at) <= 4


async def test_the_daemon_is_told_after_each_renewal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    control, told = ControlPlane(began + 100), []

    async def validity() -> Validity | None:
        return Validity(trio.current_time(), trio.current_time() + DAY_S) if told else None

    async def take() -> None:
        told.append(trio.current_time())

    keeper = IdentityKeeper(validity, control.renew, random.Random(1), trio.current_time)
    with trio.move_on_after(0.3 * DAY_S):
        await keeper.keep_identity(take)
    assert told == control.renewed_at
    assert len(told) == 1


@pytest.mark.processes
async def test_a_host_that_never_joined_says_so_and_goes_on(config) -> None:
    with pytest.raises(UnavailableError, match="has not joined"):
        await renewal_process(config)()
