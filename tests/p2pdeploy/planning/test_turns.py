"""One after the other: plans of a cell, and rollouts that are forgotten."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.limits import CLOCK_ERROR_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Go
from p2pdeploy.planning.cell_rollout import clock_time
from p2pdeploy.planning.conductor import FINISHED_MAX
from p2pdeploy.planning.next_go import activates_before
from p2pdeploy.planning.planner import CellPlan
from p2pdeploy.testing.cell_bench import API, Cell, completed, names, opened
from p2pdeploy.testing.orders import NEW, WEB, a_build, a_plan


def test_a_plan_tells_when_its_predecessor_is_quiet() -> None:
    cell, cell_plan = completed()
    end = max(o.not_after for o in cell.issued if isinstance(o, Go) and o.grants) + CLOCK_ERROR_S
    second = a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq)
    cell.open(second)
    cell.tick(1)
    grant = cell.granted("activate")
    assert grant is not None
    assert grant.predecessor_quiet_at == end + cell_plan.plan.activation_max_s


def waits_for_lost() -> tuple[Cell, HostName]:
    """A second plan has begun; the host outside its roster may still be busy with the first."""
    cell, cell_plan = completed()
    lost = names(cell_plan)[-1]
    cell.say([lost], cell_plan.plan.plan_seq, Rank.STARTED)
    cell.lose(lost)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=4, absent=[lost]))
    cell.tick(1)
    return cell, lost


def test_a_plan_is_held_while_a_host_outside_its_roster_may_be_busy() -> None:
    cell, _ = waits_for_lost()
    assert cell.granted("activate") is None
    cell.tick(cell.rollout().hold_until - cell.now)
    assert cell.granted("activate") is not None


def test_a_plan_that_is_held_tells_for_whom_and_until_when() -> None:
    cell, lost = waits_for_lost()
    (reason,) = cell.rollout().reasons
    until = clock_time(cell.rollout().hold_until)
    assert (reason.code, reason.host) == ("waits-for-predecessor", lost)
    assert reason.message.endswith(f"until {until}: {lost} may still be busy with the order before")
    cell.tick(cell.rollout().hold_until - cell.now)
    assert [reason.code for reason in cell.rollout().reasons] == ["activating"]


def test_a_plan_is_held_for_every_host_of_which_nothing_is_known_and_names_some() -> None:
    cell, cell_plan = completed()
    late = [HostName(f"late{number}") for number in range(5)]
    cell.say(late, 0, Rank.NONE)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    cell.tick(1)
    assert cell.rollout().held_for == tuple(late)
    assert "late0, late1, late2 and 2 more may" in cell.rollout().reasons[0].message


def test_a_plan_is_not_held_when_all_outside_its_roster_have_ended() -> None:
    cell, cell_plan = completed()
    lost = names(cell_plan)[-1]
    cell.lose(lost)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=4, absent=[lost]))
    cell.tick(1)
    assert cell.granted("activate") is not None


def test_a_plan_is_held_for_a_late_host_though_the_rollout_before_it_is_forgotten() -> None:
    cell, cell_plan = completed()
    late = HostName("h7")
    cell.conducted = msgspec.structs.replace(cell.conducted, entries=())
    cell.say([late], 0, Rank.NONE)
    cell.alive |= {late}
    cell.tick(200)
    assert cell.granted("converge")
    cell.lose(late)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    assert cell.rollout().hold_until > cell.now
    cell.tick(1)
    assert cell.granted("activate") is None


def side_by_side() -> tuple[Cell, CellPlan, CellPlan]:
    """WEB was opened first and activates; API waits for it."""
    cell, web = opened()
    api = a_plan(service=API)
    cell.open(api)
    cell.tick(1)
    return cell, web, api


def test_one_plan_of_a_cell_activates_at_a_time() -> None:
    cell, web, _ = side_by_side()
    assert cell.granted("activate", WEB)
    assert not cell.granted("activate", API)
    cell.say(names(web), web.plan.plan_seq, Rank.HEALTHY)
    cell.tick(1)
    cell.tick(1)
    assert cell.granted("activate", API)


def test_a_paused_plan_gives_way_only_when_its_lease_has_run_out() -> None:
    cell, web, _ = side_by_side()
    granted_until = cell.go.not_after + CLOCK_ERROR_S + web.plan.activation_max_s
    cell.pause()
    cell.tick(1)
    assert cell.go.grants == ()
    cell.tick(granted_until - cell.now - 1)
    assert cell.go.grants == ()
    cell.tick(1)
    assert cell.granted("activate", API)


def waits_for(cell: Cell, service: ServiceName) -> str:
    """The service whose rollout *service*'s waits for; empty when it waits for none."""
    entry = activates_before(cell.conducted, service, cell.evidence, cell.alive, cell.now)
    return entry.rollout.plan.service if entry else ""


def test_a_plan_that_has_to_wait_says_for_which_until_its_turn_comes() -> None:
    cell, web, api = side_by_side()
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", WEB)
    cell.say(names(web), web.plan.plan_seq, Rank.HEALTHY)
    cell.tick(1)
    cell.tick(1)
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", "")
    cell.say(names(api), api.plan.plan_seq, Rank.HEALTHY, service=API)
    cell.tick(1)
    assert waits_for(cell, API) == ""


def test_a_plan_waits_for_a_paused_one_as_long_as_its_lease_runs() -> None:
    cell, web, _ = side_by_side()
    granted_until = cell.go.not_after + CLOCK_ERROR_S + web.plan.activation_max_s
    cell.pause()
    cell.tick(1)
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", WEB)
    cell.tick(granted_until - cell.now)
    assert waits_for(cell, API) == ""


def test_a_plan_that_gave_way_waits_until_the_other_has_ended() -> None:
    cell, _, api = side_by_side()
    cell.pause()
    cell.tick(300)
    cell.pause(paused=False)
    cell.tick(1)
    assert cell.granted("activate", API)
    assert not cell.granted("activate", WEB)
    cell.say(names(api), api.plan.plan_seq, Rank.HEALTHY, service=API)
    cell.tick(1)
    cell.tick(1)
    assert cell.granted("activate", WEB)


def test_a_plan_that_is_resumed_at_once_goes_on_at_once() -> None:
    cell, _, _ = side_by_side()
    cell.pause()
    cell.tick(1)
    cell.pause(paused=False)
    cell.tick(1)
    assert cell.granted("activate", WEB)


def test_an_aborted_plan_gives_way_when_its_hosts_have_left_it() -> None:
    cell, web, _ = side_by_side()
    cell.say(names(web)[:1], web.plan.plan_seq, Rank.STARTED)
    cell.abort()
    cell.tick(1)
    cell.say(names(web)[1:], web.plan.plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    assert not cell.granted("activate", API)
    cell.say(names(web)[:1], web.plan.plan_seq + 1, Rank.ACCEPTED)
    cell.tick(1)
    assert cell.granted("activate", API)


def test_rollouts_that_have_ended_are_forgotten_beyond_a_bound() -> None:
    cell = Cell(1)
    services = [ServiceName(f"s{number:03d}") for number in range(FINISHED_MAX + 3)]
    for service in services:
        cell_plan = a_plan(hosts=1, fault_domains=1, service=service)
        cell.evidence[service] = {}
        cell.open(cell_plan)
        cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW, service=service)
        cell.tick(1)
        assert cell.rollout(service).phase == "done"
    kept = [entry.rollout.plan.service for entry in cell.conducted.entries]
    assert kept == services[-FINISHED_MAX - 1 :]
    assert set(services) == cell.conducted.settled.keys(), "late hosts still get there"


def test_a_rollout_under_way_is_never_forgotten() -> None:
    cell, _ = opened()
    cell.pause()
    for number in range(FINISHED_MAX + 3):
        service = ServiceName(f"s{number:03d}")
        cell_plan = a_plan(service=service)
        cell.evidence[service] = {}
        cell.open(cell_plan)
        cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW, service=service)
        cell.tick(1)
    assert cell.rollout(WEB).phase == "activating"
