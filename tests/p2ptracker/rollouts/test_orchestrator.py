"""Rollouts as operators ask for them: planned, accepted, refused, listed."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import NotFoundError, P2PDeployError, RefusedError
from p2pdeploy.ids import HostName, RolloutId, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Plan, Revert, Rollout, Roster
from p2ptracker.rollouts.steering import Verb
from tests.p2ptracker.rollout_bench import API, DB_CELL, EVERYBODY, HELLO, World, asks

HELLO_1 = RolloutId("hello-1")


async def refusal_of(world: World, **changes: object) -> tuple[type[P2PDeployError], str]:
    """How ``plan`` and ``apply`` refuse a request, which must be in the same way."""
    request = asks(**changes)  # pyright: ignore[reportArgumentType]
    codes: set[tuple[type[P2PDeployError], str]] = set()
    for ask in (world.desk.plan, world.desk.apply):
        with pytest.raises(P2PDeployError) as refused:
            await ask(request)
        codes.add((type(refused.value), refused.value.code))
    assert len(codes) == 1
    return codes.pop()


async def test_apply_issues_the_orders_at_once_and_the_lease_with_the_next_look(
    world: World,
) -> None:
    view = await world.apply("1")
    assert (view.id, view.state, view.version) == ("hello-1", "running", "1")
    rollout, plan = world.order("rollout/hello"), world.order("plan/hello")
    roster, revert = world.order("roster/hello"), world.order("revert/hello")
    assert isinstance(rollout, Rollout)
    assert isinstance(plan, Plan)
    assert isinstance(roster, Roster)
    assert isinstance(revert, Revert)
    assert rollout.rollout_id == plan.rollout_id == revert.rollout_id == view.id
    assert (plan.plan_seq, roster.plan_seq, revert.plan_seq) == (2, 2, 3)
    assert rollout.build == plan.build
    assert rollout.build.digest == world.digests[HELLO, "1"]
    assert {member.host for member in roster.members} == {"w1", "w2", "w3", "w4"}
    assert world.order("go") is None
    await world.look()
    assert world.granted() == {("hello", "activate")}
    assert world.go().lease_seq == 1


async def test_no_order_reaches_a_cell_that_is_not_meant(world: World) -> None:
    await world.apply("1")
    await world.look()
    assert world.order("plan/hello", DB_CELL) is None
    assert world.order("go", DB_CELL) is None


SENSELESS: list[tuple[dict[str, object], str]] = [
    ({"environment": "", "machine_function": ""}, "no-target"),
    ({"environment": "lab", "machine_function": ""}, "no-target"),
    ({"hosts": ("w1",), "environment": "lab", "machine_function": "web"}, "no-target"),
    ({"environment": "prod"}, "empty-target"),
    ({"hosts": ("w1", "nobody")}, "unknown-host"),
    ({"hosts": ("d1",)}, "none-alive"),
    ({"failure_fraction_max": 1.0}, "bad-limit"),
    ({"failure_fraction_max": -0.1}, "bad-limit"),
    ({"max_unavailable": 0}, "bad-limit"),
    ({"max_unavailable": "many"}, "bad-limit"),
    ({"max_unavailable": 10**30}, "bad-limit"),
    ({"bake_s": 1e300}, "bad-limit"),
    ({"settle_s": -1.0}, "bad-limit"),
]


async def test_a_request_that_makes_no_sense_is_refused_and_changes_nothing(world: World) -> None:
    for changes, code in SENSELESS:
        assert await refusal_of(world, **changes) == (RefusedError, code), changes
    for changes in ({"version": "9"}, {"service": "nobody"}):
        assert await refusal_of(world, **changes) == (NotFoundError, "no-release"), changes
    assert await world.desk.history(service="", limit=10, after="") == []
    assert world.order("plan/hello") is None


async def test_a_service_that_would_be_one_too_many_for_its_cell_is_refused(world: World) -> None:
    for number in range(SERVICES_PER_HOST_MAX):
        name = ServiceName(f"s{number}")
        world.say(("w1",), 2, Rank.HEALTHY, service=name)
    world.sync()
    assert await refusal_of(world) == (RefusedError, "too-many-services")
    assert world.order("plan/hello") is None


async def test_a_service_that_its_cell_knows_is_rolled_out_though_the_cell_is_full(
    world: World,
) -> None:
    await world.complete("1")
    for number in range(SERVICES_PER_HOST_MAX - 1):
        name = ServiceName(f"s{number}")
        world.say(("w1",), 2, Rank.HEALTHY, service=name)
    world.sync()
    assert (await world.apply("2")).state == "running"
    with pytest.raises(RefusedError) as refused:
        await world.apply("1", API)
    assert refused.value.code == "too-many-services"


async def test_a_second_rollout_of_the_service_waits_until_the_first_has_ended(
    world: World,
) -> None:
    await world.apply("1")
    with pytest.raises(RefusedError) as refused:
        await world.apply("2")
    assert refused.value.code == "rollout-under-way"
    assert "hello-1" in str(refused.value)
    await world.desk.steer(HELLO_1, "pause")
    with pytest.raises(RefusedError):
        await world.apply("2")
    world.say(("w1", "w2", "w3", "w4"), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert (await world.apply("2")).id == "hello-2"


async def test_a_plan_shows_the_limits_in_force_and_what_would_change(world: World) -> None:
    await world.complete("1")
    plan = await world.desk.plan(asks("1"))
    assert plan.changes == 0
    plan = await world.desk.plan(asks("2"))
    (cell,) = plan.cells
    assert plan.changes == 4
    assert (cell.current, cell.baseline) == ("1", "1")
    assert [(d.name, d.hosts, d.batches) for d in cell.fault_domains] == [
        ("fd0", 2, [1, 1]),
        ("fd1", 2, [2]),
    ]
    assert (plan.failure_fraction_max, plan.max_unavailable, plan.settle_s) == (0.1, 2, 5.0)
    assert plan.activation_max_s > plan.lease_s == 30.0
    asked = await world.desk.plan(asks("2", max_unavailable=1, bake_s=7.5, settle_s=0.0))
    assert (asked.max_unavailable, asked.bake_s, asked.settle_s) == (1, 7.5, 0.0)
    assert [d.batches for d in asked.cells[0].fault_domains] == [[1, 1], [1, 1]]
    assert world.plan().plan_seq == 2, "planning issues nothing"


async def test_a_plan_names_hosts_and_cells_that_are_left_out(world: World) -> None:
    world.sync("w4")
    plan = await world.desk.plan(asks("1", hosts=("d1", "w1", "w4")))
    assert [(cell.cell, cell.absent) for cell in plan.cells] == [("lab.web.c0", ["w4"])]
    assert [reason.code for reason in plan.reasons] == ["cell-down"]
    assert DB_CELL in plan.reasons[0].message


async def test_apply_refuses_a_plan_that_is_not_the_one_that_was_shown(world: World) -> None:
    shown = (await world.desk.plan(asks("1"))).check_index
    world.sync("w4")
    with pytest.raises(RefusedError) as refused:
        await world.apply("1", check_index=shown)
    assert refused.value.code == "check-index"
    assert await world.desk.history(service="", limit=10, after="") == []
    now = (await world.desk.plan(asks("1"))).check_index
    assert now != shown
    assert (await world.apply("1", check_index=now)).absent == ["w4"]


async def test_plan_numbers_rise_above_everything_that_hosts_ever_named(world: World) -> None:
    world.say(("w1",), 40, Rank.HEALTHY, runs="1")
    await world.apply("2")
    assert world.plan().plan_seq == 42


async def test_history_is_newest_first_page_by_page(world: World) -> None:
    for version in ("1", "2", "1"):
        await world.complete(version)
        world.now += 1
    await world.complete("1", API)

    async def page(service: str = "", after: str = "") -> list[str]:
        return [v.id for v in await world.desk.history(service=service, limit=2, after=after)]

    assert await page() == ["api-1", "hello-3"]
    assert await page(after="hello-3") == ["hello-2", "hello-1"]
    assert await page(after="hello-1") == []
    assert await page(service="hello") == ["hello-3", "hello-2"]
    assert await page(service="hello", after="hello-2") == ["hello-1"]


@pytest.mark.parametrize(
    ("verbs", "code"),
    [
        (("resume",), "wrong-state"),
        (("pause", "pause"), "wrong-state"),
        (("abort", "pause"), "wrong-state"),
        (("abort", "abort"), "wrong-state"),
        (("revert", "resume"), "wrong-state"),
        (("abort", "retry"), "wrong-state"),
        (("retry",), "nothing-to-retry"),
    ],
)
async def test_a_verb_is_refused_when_the_state_forbids_it(
    world: World, verbs: tuple[str, ...], code: str
) -> None:
    await world.apply("1")
    for verb in verbs[:-1]:
        await world.desk.steer(HELLO_1, verb)  # pyright: ignore[reportArgumentType]
    before = await world.desk.get(HELLO_1)
    with pytest.raises(RefusedError) as refused:
        await world.desk.steer(HELLO_1, verbs[-1])  # pyright: ignore[reportArgumentType]
    assert refused.value.code == code
    assert await world.desk.get(HELLO_1) == before


async def test_only_the_newest_rollout_of_a_cell_is_reverted(world: World) -> None:
    await world.complete("1")
    await world.complete("2")
    with pytest.raises(RefusedError) as refused:
        await world.desk.steer(HELLO_1, "revert")
    assert refused.value.code == "superseded"
    assert refused.value.hint.startswith("revert hello-2 first, or roll ")
    assert (await world.desk.steer(RolloutId("hello-2"), "revert")).state == "rolling-back"


async def test_nobody_is_sent_to_revert_what_went_back_already(world: World) -> None:
    await world.complete("1")
    await world.complete("2")
    rollout = await world.apply("1")
    await world.desk.steer(rollout.id, "abort")
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq + 1, Rank.HEALTHY, runs="2")
    await world.look()
    assert await world.state(rollout.id) == "aborted"
    with pytest.raises(RefusedError) as refused:
        await world.desk.steer(RolloutId("hello-2"), "revert")
    assert refused.value.hint == "roll 1 out: p2pctl rollout apply"
    with pytest.raises(RefusedError) as ended:
        await world.desk.steer(rollout.id, "revert")
    assert ended.value.hint == "possible while it is planned, running, paused or complete"


async def test_a_rollout_that_never_was_is_not_found(world: World) -> None:
    rollout = RolloutId("hello-7")
    for asking in (
        world.desk.get(rollout),
        world.desk.steer(rollout, "abort"),
        world.desk.excuse(rollout, (HostName("w1"),), ""),
        world.desk.why(rollout, ""),
    ):
        with pytest.raises(NotFoundError) as refused:
            await asking
        assert refused.value.code == "no-rollout"


@pytest.mark.parametrize(
    ("hosts", "code"),
    [(("w1", "w3"), "too-many-excused"), (("d1",), "not-in-roster"), ((), "not-in-roster")],
)
async def test_hosts_are_excused_as_far_as_their_fault_domain_tolerates(
    world: World, hosts: tuple[HostName, ...], code: str
) -> None:
    await world.apply("1", failure_fraction_max=0.5)
    with pytest.raises(RefusedError) as refused:
        await world.desk.excuse(HELLO_1, hosts, "broken fan")
    assert refused.value.code == code
    assert world.order("excuse/hello") is None
    await world.desk.excuse(HELLO_1, (HostName("w1"), HostName("w2")), "broken fan")
    excuse = world.order("excuse/hello")
    assert excuse is not None
    world.say(("w3", "w4"), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    view = await world.desk.get(HELLO_1)
    assert view.state == "complete"
    assert {(reason.code, reason.host) for reason in view.reasons} == {
        ("excused", "w1"),
        ("excused", "w2"),
    }
    with pytest.raises(RefusedError) as refused:
        await world.desk.excuse(HELLO_1, (HostName("w1"),), "too late")
    assert refused.value.code == "not-running"


@pytest.mark.parametrize(
    ("verbs", "state", "ways"),
    [
        ((), "under way", ("wait for it", "rollout abort hello-1")),
        (("pause",), "paused", ("rollout resume hello-1", "rollout abort hello-1")),
        (("abort",), "going back", ("rollout status hello-1", "rollout excuse hello-1 HOST")),
    ],
)
async def test_another_rollout_is_refused_with_what_the_one_under_way_still_takes(
    world: World, verbs: tuple[Verb, ...], state: str, ways: tuple[str, ...]
) -> None:
    rollout = (await world.apply("1")).id
    for verb in verbs:
        await world.desk.steer(rollout, verb)
    with pytest.raises(RefusedError) as refused:
        await world.apply("2")
    assert refused.value.code == "rollout-under-way"
    assert refused.value.message == f"rollout hello-1 of hello is {state}"
    assert all(way in refused.value.hint for way in ways)
    assert ("abort" in refused.value.hint) == ("abort" not in verbs)
