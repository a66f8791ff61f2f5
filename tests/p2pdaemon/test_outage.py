"""Two days without a control plane: 3,000 hosts whose certificates have all expired come back.

The simulation runs production's schedules and gate (tests/p2pdaemon/outage.py); what is checked
here is counted from its trace alone.  That services run on meanwhile is seen on real processes,
in tests/p2ptracker/enrolment/test_short_lives.py.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
import trio

from p2pdaemon.keep_identity import IdentityKeeper
from p2pdaemon.renewal_schedule import RETRY_FIRST_S, RETRY_MAX_S
from p2pdeploy.errors import UnavailableError
from p2pdeploy.trust.host_identity import Validity
from tests.p2pdaemon.outage import DAY_S, MEASURED, Outage, Speed, Trace

HOSTS = 3_000
AN_HOUR_S = 3_600.0
DOWN = (AN_HOUR_S, AN_HOUR_S + 2 * DAY_S)


def peak(asked: Counter[int], first_s: float, last_s: float) -> int:
    """The most requests in any one second of a time."""
    return max((count for at, count in asked.items() if first_s <= at < last_s), default=0)


def renewed_once(renewed: list[tuple[float, int]], first_s: float, last_s: float) -> list[float]:
    """When hosts renewed in a time; each of them did, and none twice."""
    found = [(at, host) for at, host in renewed if first_s <= at < last_s]
    assert sorted(host for _, host in found) == list(range(HOSTS))
    return [at for at, _ in found]


def test_a_stampede_after_two_days_does_not_happen() -> None:
    """Certificates of every age; the last expires a day before the control plane is back."""
    ages = random.Random(1)
    fleet = Outage(HOSTS, 1, DOWN)
    for host in range(HOSTS):
        issued_at = -ages.uniform(0, 0.4 * DAY_S)
        fleet.begin(host, Validity(issued_at, issued_at + DAY_S))
    fleet.run(DOWN[1])
    asked = fleet.trace.asked
    assert max(fleet.expires_at) < DOWN[1] - 0.5 * DAY_S, "every certificate has expired"
    last_hours = sum(count for at, count in asked.items() if at >= DOWN[1] - 2 * AN_HOUR_S)
    assert last_hours > HOSTS * 8, "all have gone on asking"
    assert peak(asked, DOWN[0], DOWN[1]) <= MEASURED.per_s / 2, (
        "a dead control plane is not drowned"
    )

    fleet.run(DOWN[1] + AN_HOUR_S)
    times = renewed_once(fleet.trace.renewed, DOWN[1], DOWN[1] + AN_HOUR_S)
    took_s, most = max(times) - DOWN[1], peak(asked, DOWN[1], DOWN[1] + AN_HOUR_S)
    print(f"{HOSTS} hosts back within {took_s:.0f} s, at most {most} requests in a second")
    assert took_s <= RETRY_MAX_S + 1, "nobody waits for longer than between two tries"
    assert most <= MEASURED.per_s / 2
    assert fleet.trace.timed_out == 0

    fleet.run(DOWN[1] + 0.7 * DAY_S)
    renewed_once(fleet.trace.renewed, DOWN[1] + AN_HOUR_S, DOWN[1] + 0.7 * DAY_S)
    following = peak(asked, DOWN[1] + AN_HOUR_S, DOWN[1] + 0.7 * DAY_S)
    assert following <= MEASURED.per_s / 10, "the next time they are spread over hours again"


def test_a_host_of_a_full_desk_is_told_when_to_come_again() -> None:
    """Certificates take longest: who would wait in vain is sent away at once, and none is made
    that nobody waits for any more.
    """
    trace = power_comes_back(Speed(handshake_s=0.002, issue_s=0.02))
    assert trace.sent_away > HOSTS
    assert trace.timed_out == 0


@pytest.mark.parametrize("speed", [MEASURED, Speed(0.03, 0.01)], ids=["measured", "slow"])
def test_a_fleet_whose_power_comes_back_at_one_moment_is_served_by_turns(speed: Speed) -> None:
    """Handshakes take longest; who got no answer in time comes back later each time."""
    power_comes_back(speed)


def power_comes_back(speed: Speed) -> Trace:
    """The worst there is: every daemon starts in the same second with what expired long ago."""
    starts = random.Random(2)
    fleet = Outage(HOSTS, 2, speed=speed)
    for host in range(HOSTS):
        fleet.begin(host, None, at=starts.random())
    fleet.run(AN_HOUR_S)
    took_s = max(renewed_once(fleet.trace.renewed, 0, AN_HOUR_S))
    print(f"{took_s:.0f} s at {speed.per_s:.0f}/s; {fleet.trace.sent_away} were sent away")
    print(f"{fleet.trace.timed_out} got no answer")
    assert took_s <= 8 * HOSTS / speed.per_s
    return fleet.trace


@pytest.mark.usefixtures("logged")  # it warns each time it fails
async def test_the_simulated_host_asks_when_the_real_task_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What ties the simulation to production: the same draws lead to the same moments."""
    issued_at, down_until = -1_000.0, DOWN[1]
    began, asked = trio.current_time(), list[float]()

    def now() -> float:
        return trio.current_time() - began

    async def validity() -> Validity:
        return Validity(issued_at, issued_at + DAY_S)

    async def renew() -> None:
        asked.append(now())
        if now() < down_until:
            raise UnavailableError("down")
        await trio.sleep_forever()

    keeper = IdentityKeeper(validity, renew, random.Random("3/0"), now)
    with trio.move_on_after(down_until + RETRY_MAX_S):
        await keeper.keep_identity(trio.lowlevel.checkpoint)

    one = Outage(1, 3, (0.0, down_until))
    one.begin(0, Validity(issued_at, issued_at + DAY_S))
    one.run(down_until + RETRY_MAX_S)
    assert len(asked) > 200
    assert min(asked) > 0.3 * DAY_S
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert RETRY_FIRST_S - 1e-6 <= min(pauses) < max(pauses) <= RETRY_MAX_S + 1e-6
    simulated = sorted(one.trace.asked.elements())
    assert all(abs(s - a) <= 1 for s, a in zip(simulated, asked, strict=True))
