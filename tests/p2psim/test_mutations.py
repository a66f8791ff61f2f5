"""The judges judge: each rule of the protocol, taken away, is found missing by a checker.

One test plants one fault and names worlds in which it does harm.  A change to the worlds moves
them; run a range of seeds with the same fault planted to find new ones.
"""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.activation import host as activation_host
from p2pdeploy.activation import permission, rules, transitions
from p2pdeploy.activation.effects import Keep
from p2pdeploy.activation.gate import Evidence, evidence_hold
from p2pdeploy.activation.lease import Hold
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.activation.service import Duty, Slot
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.orders import Plan, Revert, Roster, RosterMember, Settled
from p2pdeploy.planning import activating, grants
from p2pdeploy.planning.cell_rollout import CellRollout, settled_of
from p2psim.options import draw_options
from p2psim.run import run_seed
from p2psim.scenario import Scenario, build_of
from p2psim.world import World

WEB = ServiceName("web")
pytestmark = pytest.mark.slow


def found_in(*seeds: int, hosts: int = 6) -> set[str]:
    """The invariants that these worlds see violated."""
    verdicts = [run_seed(seed, hosts=hosts, fault_domains=3) for seed in seeds]
    return {violation.invariant for verdict in verdicts for violation in verdict.violations}


def never_holds(*_: object, **__: object) -> None:
    """A rule that lets everything pass."""


def test_a_gate_without_evidence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "evidence_hold", never_holds)
    assert {"I1", "I2"} <= found_in(0)


def test_a_gate_that_is_blind_to_batches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole_fault_domains(
        plan: Plan,
        roster: Roster,
        me: RosterMember,
        evidence: Evidence,
        excused: frozenset[HostName],
    ) -> Hold | None:
        in_front = RosterMember(me.host, me.fault_domain, 0)
        return evidence_hold(plan, roster, in_front, evidence, excused)

    monkeypatch.setattr(rules, "evidence_hold", whole_fault_domains)
    assert "I3" in found_in(5, 8)


def test_a_missing_interlock_between_plans_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "interlock_hold", never_holds)
    assert "I6" in found_in(120)


def test_a_missing_interlock_between_attempts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in(124, hosts=12) == set()
    monkeypatch.setattr(rules, "attempt_hold", never_holds)
    assert "I2" in found_in(124, hosts=12)


def test_a_lease_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "lease_hold", never_holds)
    assert "I4" in found_in(2, 32)


def test_a_missing_last_look_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_host, "last_look", never_holds)
    assert "I5" in found_in(5)


def test_hosts_that_forget_an_abort_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true_duty = Slot.duty

    def duty_without_aborts(slot: Slot) -> Duty | None:
        if slot.plan is not None and slot.plan.plan_seq <= slot.record.watermark:
            return slot.plan
        return true_duty(slot)

    monkeypatch.setattr(Slot, "duty", duty_without_aborts)
    assert "L3" in found_in(0, 2)  # the lease stops them; the way back never ends


def test_going_back_without_being_named_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_forwards(_: Slot, duty: Duty) -> bool:
        return not isinstance(duty, Revert)

    for module in (rules, permission):
        monkeypatch.setattr(module, "needs_lease", only_forwards)
    assert "I3" in found_in(14, 21)


def test_an_aborted_build_that_is_started_at_boot_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert boots_with_an_aborted_build() == set()

    by_number = property(lambda record: record.running_seq != record.watermark)
    monkeypatch.setattr(ServiceRecord, "may_start", by_number)  # forgets that ABORT is a register
    assert boots_with_an_aborted_build() == {"I4"}


def boots_with_an_aborted_build() -> set[str]:
    """What is found when a host reboots that runs a build whose ABORT was overtaken by another."""
    scenario = Scenario(draw_options(0, hosts=3, fault_domains=3), World())
    truth, host = scenario.truth, scenario.hosts[HostName("h01")]
    build = build_of(WEB, "1")
    truth.approved[WEB] = {build.digest}
    truth.dead[WEB, build.digest] = 4
    host.disk.records[WEB] = ServiceRecord(
        service=WEB,
        accepted_seq=4,
        watermark=6,
        running=build,
        running_seq=4,
    )
    host.disk.put(WEB, build)
    host.boot()
    scenario.world.run_until(5.0)
    return {violation.invariant for violation in truth.violations}


def test_a_settlement_that_nobody_approved_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_the_future(rollout: CellRollout, *, now: float) -> Settled | None:
        settled = settled_of(rollout, now=now)
        if settled is None or settled.service != WEB:
            return settled
        return msgspec.structs.replace(
            settled, plan_seq=settled.plan_seq + 1, build=build_of(WEB, "3")
        )

    monkeypatch.setattr(activating, "settled_of", in_the_future)  # by a thief of the deployer key
    assert "I18" not in found_in(0)
    monkeypatch.setattr(permission, "settled_bounds", never_holds)
    assert "I18" in found_in(0)


def test_a_way_back_that_is_not_kept_on_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true_keep = transitions.keep

    def only_what_comes(slot: Slot) -> Keep:
        keep = true_keep(slot)
        if slot.plan is None:
            return keep
        return Keep(keep.service, keep.digests & {slot.plan.build.digest})

    monkeypatch.setattr(transitions, "keep", only_what_comes)
    assert "I12" in found_in(0)


def test_two_services_that_activate_side_by_side_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_at_rest(*_: object) -> bool:
        return False

    monkeypatch.setattr(grants, "_may_be_activating", is_at_rest)
    assert "I2" in found_in(14, 26)
