"""Whatever the control plane orders is inside the ROLLOUT that it makes."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.activation.bounds import plan_bounds, revert_bounds, settled_bounds
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.messages.orders import Abort, Rollout, Settled, Target
from p2pdeploy.planning.bounds import bounds_of
from p2pdeploy.planning.cell_rollout import Result, open_cell_rollout, settled_of
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.testing.cell_bench import completed
from p2pdeploy.testing.orders import CELL, EPOCH_S, NEW, OLD, WEB, abort_of, hosts_of

FRESH = ServiceRecord(service=WEB)
NAMES = [host.name for host in hosts_of(12, 3)]
SOME = st.sets(st.sampled_from(NAMES))


class _Case(msgspec.Struct, frozen=True):
    cell_plan: CellPlan
    rollout: Rollout


@st.composite
def cases(draw: st.DrawFn) -> _Case:
    """Any targets of a cell of twelve, by name or by what the cell is for."""
    by_name = draw(st.booleans())
    targets = draw(SOME.filter(bool)) if by_name else set(NAMES)
    alive = draw(SOME.filter(lambda found: bool(found & targets)))
    facts = CellFacts(
        cell=CELL,
        hosts=tuple(host for host in hosts_of(12, 3) if host.name in targets),
        alive=frozenset(alive),
        evidence={},
        baseline=draw(st.sampled_from([OLD, None])),
        bare=tuple(sorted(draw(SOME) & targets)),
        settled_hosts=tuple(sorted(draw(SOME))),
        plan_seq_max=2,
        whole_cell=len(targets) == len(NAMES),
    )
    limits = Limits(bake_s=draw(st.sampled_from([0.0, 30.0])))
    cell_plan = plan_cell(
        facts, service=WEB, build=NEW, rollout_id=RolloutId("r4"), limits=limits, now=EPOCH_S
    )
    assert cell_plan is not None
    by_label = Target(environment="lab", machine_function="web")
    target = Target(hosts=tuple(sorted(targets))) if by_name else by_label
    rollout = bounds_of(
        cell_plan,
        rollout_seq=4,
        target=target,
        failure_fraction_max=limits.failure_fraction_max,
    )
    return _Case(cell_plan, rollout)


def end_of(cell_plan: CellPlan, result: Result) -> Settled:
    rollout = open_cell_rollout(cell_plan, rollout_seq=4, quiet_at=0.0, hold_until=0.0)
    ended = msgspec.structs.replace(rollout, phase="done", result=result)
    settled = settled_of(ended, now=EPOCH_S)
    assert settled is not None
    return settled


@settings(deadline=None, max_examples=80)
@given(case=cases())
def test_every_order_of_a_rollout_is_inside_its_bounds(case: _Case) -> None:
    plan, revert, roster = case.cell_plan.plan, case.cell_plan.revert, case.cell_plan.roster
    assert plan_bounds(plan, roster, case.rollout, FRESH) is None
    for member in roster.members:
        mine = revert.for_host(member.host)
        assert revert_bounds(mine, roster, case.rollout, FRESH, member.host) is None
    for result in ("complete", "rolled-back"):
        settled = end_of(case.cell_plan, result)
        for host in settled.hosts or NAMES:
            mine = settled.for_host(host)
            assert settled_bounds(mine, case.rollout, FRESH, host) is None


@settings(deadline=None, max_examples=80)
@given(case=cases())
def test_who_is_neither_target_nor_settled_is_in_no_order(case: _Case) -> None:
    approved = {*case.rollout.target.hosts, *case.rollout.settled_hosts}
    if not case.rollout.target.hosts:
        return
    for result in ("complete", "rolled-back"):
        settled = end_of(case.cell_plan, result)
        assert approved.issuperset(settled.hosts)


def test_an_abort_names_the_rollout_that_it_ends() -> None:
    cell, cell_plan = completed()
    aborts = [order for order in cell.abort("rolled-back") if isinstance(order, Abort)]
    assert [abort.rollout_seq for abort in aborts] == [abort_of(cell_plan).rollout_seq]


def test_what_settles_names_its_rollout() -> None:
    cell, cell_plan = completed()
    settled = cell.conducted.settled[WEB]
    assert settled.rollout_id == cell_plan.plan.rollout_id


def test_settled_hosts_are_those_beside_the_target() -> None:
    cell_plan = _targeted()
    rollout = bounds_of(
        cell_plan,
        rollout_seq=4,
        target=Target(hosts=(HostName("h1"),)),
        failure_fraction_max=0.1,
    )
    assert rollout.settled_hosts == ("h2",)
    assert (rollout.bare, rollout.baseline) == (("h1",), OLD)


def _targeted() -> CellPlan:
    h1 = hosts_of(1, 1)
    found = plan_cell(
        CellFacts(
            cell=CELL,
            hosts=h1,
            alive=frozenset({h1[0].name}),
            evidence={},
            baseline=OLD,
            bare=(HostName("h1"),),
            settled_hosts=(HostName("h1"), HostName("h2")),
            plan_seq_max=2,
            whole_cell=False,
        ),
        service=WEB,
        build=NEW,
        rollout_id=RolloutId("r4"),
        limits=Limits(),
        now=EPOCH_S,
    )
    assert found is not None
    return found
