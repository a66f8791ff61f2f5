"""What a thief of the GO key can do, with the deployer's key beside it or alone.

No rollout that is over begins again, and no gate opens.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.events import ServiceBroke
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.messages.orders import Order, Rollout
from p2pdeploy.planning.planner import CellPlan
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import (
    CELL,
    NEW,
    WEB,
    a_build,
    a_go,
    a_plan,
    abort_of,
    activate,
    rollout_of,
)
from tests.attacks.thief import (
    APPROVED,
    NAN,
    ROLLOUT,
    SEQ,
    settled_as,
    through_the_verifier,
    with_plan,
)

YEAR_S = 365 * 86_400.0


def planned_again(under: Rollout = ROLLOUT) -> CellPlan:
    """A new plan for a ROLLOUT that had its own, by a thief of the deployer key."""
    again = a_plan(after=SEQ + 4)
    revert = msgspec.structs.replace(again.revert, rollout_id=under.rollout_id)
    again = msgspec.structs.replace(again, revert=revert)
    return with_plan(again, rollout_id=under.rollout_id)


def begins_again(*before: Order, records: list[ServiceRecord] | None = None) -> tuple[bool, str]:
    """Whether a host starts ROLLOUT anew for who has the deployer key and the GO key."""
    again = planned_again()
    host = Bench("h3", records=records)
    orders = (*before, ROLLOUT, again.roster, again.plan, again.revert)
    host.learn(*map(through_the_verifier, orders))
    host.ready(again, but="orders")
    return host.starting is not None, host.why


def test_stolen_deployer_and_go_keys_cannot_begin_an_aborted_rollout_again() -> None:
    assert begins_again() == (True, "")
    assert begins_again(abort_of(APPROVED)) == (False, "rollout-aborted")


def test_stolen_deployer_and_go_keys_cannot_begin_it_again_after_a_reboot() -> None:
    host = Bench("h3")
    host.learn(*map(through_the_verifier, (ROLLOUT, abort_of(APPROVED))))
    assert begins_again(records=[host.record]) == (False, "rollout-aborted")


def test_an_abort_stops_another_plan_of_its_rollout_at_the_last_moment() -> None:
    again = planned_again()
    host = Bench("h3")
    host.learn(*map(through_the_verifier, (ROLLOUT, again.roster, again.plan)))
    host.ready(again, but="orders")
    assert host.starting is not None
    host.learn(through_the_verifier(abort_of(APPROVED)))
    host.persisted()
    assert (host.changes, host.starting, host.why) == ([], None, "rollout-aborted")


def test_stolen_deployer_and_go_keys_cannot_bring_an_older_rollout_back() -> None:
    newer = rollout_of(a_plan(build=a_build("3"), after=SEQ))
    assert begins_again(newer) == (False, "rollout-unknown")
    host = Bench("h3")
    host.learn(through_the_verifier(newer))
    assert begins_again(records=[host.record]) == (False, "superseded-rollout")


def test_an_older_rollout_brings_nothing_back_that_needs_no_go() -> None:
    newer = rollout_of(a_plan(build=a_build("3"), after=SEQ))
    seen = Bench("h3")
    seen.learn(through_the_verifier(newer))
    host = Bench("h3", records=[seen.record])
    host.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    host.learn(*map(through_the_verifier, (ROLLOUT, settled_as(NEW, plan_seq=SEQ + 8))))
    host.stage(NEW)
    assert (host.starting, host.why) == (None, "superseded-rollout")


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


def test_a_go_that_ends_at_no_time_has_ended() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="go")
    go = a_go(activate(APPROVED), lease_seq=99, issued_at=host.wall_s)
    host.learn(through_the_verifier(msgspec.structs.replace(go, not_after=NAN)))
    assert (host.starting, host.why) == (None, "lease-expired")


def test_nothing_of_another_cell_is_obeyed_though_the_right_key_signed_it() -> None:
    host = Bench("h3")
    host.ready(APPROVED, but="go")
    go = msgspec.structs.replace(a_go(activate(APPROVED)), cell=f"{CELL}9", issued_at=host.wall_s)
    host.learn(through_the_verifier(go))
    assert (host.starting, host.why) == (None, "no-go")
