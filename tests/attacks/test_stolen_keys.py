"""What a thief of one online key can do to a host: envelopes are real, the host's core is real."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.messages.orders import Order, Target
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import (
    CELL,
    a_build,
    a_go,
    a_plan,
    abort_of,
    activate,
    orders_of,
    rollout_of,
)
from p2pdeploy.trust.envelope import Sealed, open_envelope, seal

YEAR_S = 365 * 86_400.0
APPROVED = a_plan()
APPROVED_HOSTS = tuple(member.host for member in APPROVED.roster.members)
ROLLOUT = rollout_of(APPROVED, failure_fraction_max=0.1)
# Both fault domains have ten hosts, so that a tenth of one is a host.
LARGE = a_plan(hosts=20, fault_domains=2)
TWO_FAIL = a_plan(hosts=20, fault_domains=2, limits=Limits(failure_fraction_max=0.2))


@cache
def fleet() -> FleetKeys:
    return FleetKeys()


def through_the_verifier(message: Sealed | Order) -> Sealed:
    """*message* as the key of its role seals it and every host opens it."""
    return fleet().open(fleet().seal(message))  # pyright: ignore[reportArgumentType] every order given here is Sealed


def starts(
    cell_plan: CellPlan, *, under: Order = ROLLOUT, after: tuple[Order, ...] = ()
) -> tuple[bool, str]:
    """Whether a host starts *cell_plan* when everything but the approval speaks for it."""
    host = Bench("h3")
    orders = (*after, under, cell_plan.roster, cell_plan.plan, cell_plan.revert)
    host.learn(*map(through_the_verifier, orders))
    host.ready(cell_plan, but="orders")
    return host.starting is not None, host.why


def test_the_honest_plan_starts() -> None:
    assert starts(APPROVED) == (True, "")
    large = rollout_of(LARGE, failure_fraction_max=0.1)
    assert starts(LARGE, under=large) == (True, "")


def test_a_stolen_deployer_key_cannot_approve() -> None:
    rollout = msgspec.structs.replace(ROLLOUT, build=a_build("evil"))
    with pytest.raises(TrustError):
        open_envelope(seal(rollout, fleet().roles["deployer"]), fleet().verifier)


def test_a_stolen_deployer_key_cannot_change_the_release() -> None:
    assert starts(a_plan(build=a_build("evil"))) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_widen_the_target() -> None:
    only = msgspec.structs.replace(ROLLOUT, target=Target(hosts=APPROVED_HOSTS[:2]))
    assert starts(APPROVED, under=only) == (False, "outside-rollout")
    elsewhere = Target(environment="prod", machine_function="web")
    other = msgspec.structs.replace(ROLLOUT, target=elsewhere)
    assert starts(APPROVED, under=other) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_take_more_hosts_down_at_a_time() -> None:
    wider = a_plan(limits=Limits(max_unavailable=4))
    assert wider.plan.max_unavailable > ROLLOUT.max_unavailable
    assert starts(wider) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_hide_a_wider_batch_behind_the_approved_number() -> None:
    domains = APPROVED.plan.fault_domains
    assert domains[0].size == 2
    plan = msgspec.structs.replace(APPROVED.plan, max_unavailable=1)
    under = msgspec.structs.replace(ROLLOUT, max_unavailable=1)
    both_at_once = msgspec.structs.replace(domains[0], batches=(2,))
    plan = msgspec.structs.replace(plan, fault_domains=(both_at_once, *domains[1:]))
    wider = msgspec.structs.replace(APPROVED, plan=plan)
    assert starts(wider, under=under) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_let_more_hosts_fail() -> None:
    assert TWO_FAIL.plan.fault_domains[0].failures_max == 2
    rollout = rollout_of(TWO_FAIL, failure_fraction_max=0.1)
    assert starts(TWO_FAIL, under=rollout) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_outlive_the_approval() -> None:
    plan = msgspec.structs.replace(APPROVED.plan, expires_at=ROLLOUT.expires_at + YEAR_S)
    assert starts(msgspec.structs.replace(APPROVED, plan=plan)) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_run_a_plan_after_its_abort() -> None:
    started, _ = starts(APPROVED, after=(abort_of(APPROVED),))
    assert not started


def test_a_stolen_deployer_key_starts_nothing_without_a_go() -> None:
    host = Bench("h3")
    host.learn(*map(through_the_verifier, (ROLLOUT, *orders_of(APPROVED)[1:])))
    host.ready(APPROVED, but="go")
    assert (host.starting, host.why) == (None, "no-go")


def test_a_stolen_go_key_starts_nothing_that_no_plan_asks_for() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="orders")
    host.wait(60)
    assert (host.starting, host.changes, host.record.accepted_seq) == (None, [], 2)


def test_a_stolen_go_key_cannot_undo_an_abort() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="settle")
    host.learn(through_the_verifier(abort_of(APPROVED)))
    again = a_go(activate(APPROVED), lease_seq=99, issued_at=host.wall_s)
    host.learn(through_the_verifier(again))
    host.wait(APPROVED.plan.settle_s)
    assert host.starting is None


def test_a_stolen_go_key_opens_no_gate() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="evidence")
    host.learn(through_the_verifier(a_go(activate(APPROVED), lease_seq=99, issued_at=host.wall_s)))
    host.wait(5)
    assert (host.starting, host.why) == (None, "evidence")


def test_a_lease_of_a_year_lapses_once_its_thief_is_cut_off() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="go")
    go = a_go(activate(APPROVED, up_to=0), lease_seq=99, issued_at=host.wall_s)
    host.learn(through_the_verifier(msgspec.structs.replace(go, not_after=go.not_after + YEAR_S)))
    assert host.why == "not-yet", "the lease is taken; it does not reach this fault domain"
    host.wait(APPROVED.plan.lease_s)
    assert (host.starting, host.why) == (None, "lease-old")


def test_nothing_of_another_cell_is_obeyed_though_the_right_key_signed_it() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="go")
    go = msgspec.structs.replace(a_go(activate(APPROVED)), cell=f"{CELL}9", issued_at=host.wall_s)
    host.learn(through_the_verifier(go))
    assert (host.starting, host.why) == (None, "no-go")
