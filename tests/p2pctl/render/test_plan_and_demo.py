from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

from p2pctl.demo.story import Chapter, StoryResult
from p2pctl.documents import DemoReport, DemoRollout
from p2pctl.render.demo import view_story
from p2pctl.render.plan import view_plan
from p2pdeploy.messages.api import PlannedCell, PlannedFaultDomain, RolloutPlanView


def text_of(view: RenderableType) -> str:
    console = Console(file=StringIO(), width=140, color_system=None)
    console.print(view)
    return console.file.getvalue()


def test_a_plan_prints_every_limit_in_force_and_the_check_index() -> None:
    cell = PlannedCell(
        cell="lab.web.c0",
        current="1.0.0",
        baseline="1.0.0",
        fault_domains=[PlannedFaultDomain(name="fd0", hosts=11, batches=[1, 5, 5], failures_max=1)],
        absent=[f"a{number}" for number in range(10)],
        unchanged=["h07"],
    )
    plan = RolloutPlanView(
        service="hello",
        version="1.1.0",
        changes=10,
        check_index="c28658e9d6e7",
        max_unavailable=6,
        failure_fraction_max=0.1,
        brakes_max=2,
        bake_s=2.0,
        settle_s=5.0,
        activation_max_s=92.0,
        lease_s=30.0,
        cells=[cell],
    )
    shown = text_of(view_plan(plan))
    assert "10 hosts change" in shown
    assert "1 + 2x5" in shown
    assert "check-index c28658e9d6e7" in shown
    assert "a7 and 2 more" in shown
    limits = [
        field
        for field in RolloutPlanView.__struct_fields__
        if field.endswith(("_s", "_max", "_unavailable"))
    ]
    for limit in limits:
        assert limit.removesuffix("_s") in shown


def test_the_demo_table_labels_its_limit_and_names_every_fault() -> None:
    rollout = DemoRollout(
        version="1.0.0",
        outcome="complete",
        seconds=68.0,
        fd_order=["fd0", "fd1"],
        bytes_per_host_max=256 * 1024**2,
    )
    chapter = Chapter(
        rollout=rollout,
        size_bytes=256 * 1024**2,
        publish_s=1.9,
        fetch_s=9.0,
        limit_s=2.0,
        dealt_bytes=256 * 1024**2,
    )
    report = DemoReport(
        ok=False,
        hosts=2,
        rollouts=[rollout],
        served_versions={"h01": "1.0.0", "h02": "no answer"},
        faults=["h02 serves no answer"],
    )
    shown = text_of(view_story(StoryResult(report, [chapter])))
    assert " 4.5 " in shown
    assert "shared loopback" in shown
    assert "not as told: h02 serves no answer" in shown
    assert "everything was as told" not in shown
