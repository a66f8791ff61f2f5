"""What a thief of one online key can do to a host: envelopes are real, the host's core is real."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.orders import Excuse, Order, RosterMember, Target
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import CELL, WEB, a_plan, abort_of, orders_of, rollout_of
from p2pdeploy.trust.envelope import open_envelope, seal
from tests.attacks.thief import (
    APPROVED,
    APPROVED_HOSTS,
    EVIL,
    NAN,
    ROLLOUT,
    first_name,
    fleet,
    through_the_verifier,
    with_plan,
)

YEAR_S = 365 * 86_400.0
# Both fault domains have ten hosts, so that a tenth of one is a host.
LARGE = a_plan(hosts=20, fault_domains=2)
TWO_FAIL = a_plan(hosts=20, fault_domains=2, limits=Limits(failure_fraction_max=0.2))


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
    rollout = msgspec.structs.replace(ROLLOUT, build=EVIL)
    with pytest.raises(TrustError):
        open_envelope(seal(rollout, fleet().roles["deployer"]), fleet().verifier)


def test_a_stolen_deployer_key_cannot_change_the_release() -> None:
    assert starts(a_plan(build=EVIL)) == (False, "outside-rollout")


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
    one_by_one = a_plan(limits=Limits(max_unavailable=1))
    under = rollout_of(one_by_one)
    assert starts(one_by_one, under=under) == (True, "")
    domains = tuple(
        msgspec.structs.replace(domain, batches=(2,)) for domain in one_by_one.plan.fault_domains
    )
    at_once = with_plan(with_everybody_in_front(one_by_one), fault_domains=domains)
    assert starts(at_once, under=under) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_let_more_hosts_fail() -> None:
    assert TWO_FAIL.plan.fault_domains[0].failures_max == 2
    rollout = rollout_of(TWO_FAIL, failure_fraction_max=0.1)
    assert starts(TWO_FAIL, under=rollout) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_outlive_the_approval() -> None:
    plan = msgspec.structs.replace(APPROVED.plan, expires_at=ROLLOUT.expires_at + YEAR_S)
    assert starts(msgspec.structs.replace(APPROVED, plan=plan)) == (False, "outside-rollout")


@pytest.mark.parametrize(
    "change",
    [{"bake_s": 29.0}, {"bake_s": NAN}, {"settle_s": 4.0}, {"settle_s": NAN}],
    ids=first_name,
)
def test_a_stolen_deployer_key_cannot_bake_or_settle_for_less(change: dict[str, float]) -> None:
    baked = a_plan(limits=Limits(bake_s=30.0, settle_s=5.0))
    under = rollout_of(baked)
    assert starts(baked, under=under) == (True, "")
    assert starts(with_plan(baked, **change), under=under) == (False, "outside-rollout")


@pytest.mark.parametrize(
    "change",
    [
        {"activation_max_s": APPROVED.plan.activation_max_s + 1},
        {"activation_max_s": NAN},
        {"lease_s": 3_600.0},
        {"clock_error_s": 0.0},
        {"expires_at": NAN},
    ],
    ids=first_name,
)
def test_a_stolen_deployer_key_cannot_stretch_the_times(change: dict[str, float]) -> None:
    assert starts(with_plan(APPROVED, **change)) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_put_more_hosts_into_a_batch_than_it_says() -> None:
    one_by_one = a_plan(limits=Limits(max_unavailable=1))
    assert starts(one_by_one) == (True, "")
    assert starts(with_everybody_in_front(one_by_one)) == (False, "outside-rollout")


def with_everybody_in_front(cell_plan: CellPlan) -> CellPlan:
    """Every host in the first batch of its fault domain, whatever the plan says of batches."""
    members = tuple(RosterMember(m.host, m.fault_domain, 0) for m in cell_plan.roster.members)
    roster = msgspec.structs.replace(cell_plan.roster, members=members)
    with_roster = msgspec.structs.replace(cell_plan, roster=roster)
    return with_plan(with_roster, roster_digest=digest_of(encode(roster)))


def test_a_stolen_deployer_key_cannot_make_fault_domains_larger_than_they_are() -> None:
    domains = tuple(
        msgspec.structs.replace(domain, size=10, failures_max=1)
        for domain in APPROVED.plan.fault_domains
    )
    padded = with_plan(APPROVED, fault_domains=domains, brakes_max=2)
    wide = msgspec.structs.replace(ROLLOUT, max_unavailable=9)
    padded = with_plan(padded, max_unavailable=9)
    assert starts(padded, under=wide) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_take_the_brakes_off() -> None:
    assert starts(with_plan(APPROVED, brakes_max=99)) == (False, "outside-rollout")
    assert starts(with_plan(APPROVED, brakes_max=0)) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_excuse_who_is_in_the_way() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="evidence")
    assert host.why == "evidence"
    plan = APPROVED.plan
    everybody = Excuse(
        cell=CELL,
        service=WEB,
        plan_seq=plan.plan_seq,
        excuse_seq=1,
        hosts=tuple(h for h in APPROVED_HOSTS if h != host.me),
        reason="-",
    )
    host.learn(through_the_verifier(everybody))
    host.wait(plan.settle_s)
    assert (host.starting, host.why) == (None, "outside-rollout")


def test_a_stolen_deployer_key_cannot_run_a_plan_after_its_abort() -> None:
    started, _ = starts(APPROVED, after=(abort_of(APPROVED),))
    assert not started


def test_a_stolen_deployer_key_cannot_plan_another_way_back() -> None:
    assert starts(a_plan(baseline=EVIL)) == (False, "outside-rollout")


def test_a_stolen_deployer_key_starts_nothing_without_a_go() -> None:
    host = Bench("h3")
    host.learn(*map(through_the_verifier, (ROLLOUT, *orders_of(APPROVED)[1:])))
    host.ready(APPROVED, but="go")
    assert (host.starting, host.why) == (None, "no-go")


def test_an_approval_for_another_cell_approves_nothing_here() -> None:
    elsewhere = msgspec.structs.replace(ROLLOUT, cell=f"{CELL}9")
    assert starts(APPROVED, under=elsewhere) == (False, "rollout-unknown")
