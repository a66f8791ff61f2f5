from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import get_args

import msgspec
import pytest
from rich.console import Console, RenderableType

from p2pctl.render.glyphs import bar, look
from p2pctl.render.rollout import fault_domain_state, rollout_line, view_history, view_rollout
from p2pdeploy.messages.api import (
    FaultDomainView,
    HostView,
    Reason,
    RolloutState,
    RolloutView,
    ServiceView,
)

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def domain(name: str, **fields) -> FaultDomainView:
    known = {"cell": "lab.web.c0", "total": 4, "healthy": 0, "failed": 0}
    times = {"started_at": None, "finished_at": None}
    return FaultDomainView(**{**known, **times, "name": name, **fields})


ROLLOUT = RolloutView(
    id="r-7",
    service="hello",
    version="1.2.0",
    baseline="1.1.0",
    state="running",
    created_at=NOW - timedelta(seconds=30),
    finished_at=None,
    fault_domains=[
        domain(
            "fd0",
            healthy=4,
            started_at=NOW - timedelta(seconds=28),
            finished_at=NOW - timedelta(seconds=12),
            states={"healthy": 4},
        ),
        domain(
            "fd1",
            healthy=1,
            started_at=NOW - timedelta(seconds=5),
            states={"healthy": 1, "baking": 2, "staged": 1},
        ),
        domain("fd2", states={"waiting": 4}, waits_for="fd1"),
    ],
    reasons=[Reason(code="fd-in-progress", message="fd1 is activating", fault_domain="fd1")],
)


def text_of(view: RenderableType) -> str:
    console = Console(file=StringIO(), width=140, color_system=None)
    console.print(view)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_the_tree_has_a_line_per_fault_domain_and_none_per_host() -> None:
    assert text_of(view_rollout(ROLLOUT, NOW)) == (
        """\
Rollout:       r-7
Release:       hello 1.2.0
Goes back to:  1.1.0
Status:        ◌ running - fd1 is activating
Age:           30s

NAME            PROGRESS       HOSTS   STATES                                 AGE   WAITS FOR
◌ hello 1.2.0   █████░░░░░░░    5/12                                          30s
└─ lab.web.c0
   ├─ ✔ fd0     ████████████     4/4   ✔ 4 healthy                            16s
   ├─ ● fd1     ███░░░░░░░░░     1/4   ✔ 1 healthy  ● 2 baking  ◌ 1 staged   5.0s
   └─ ○ fd2     ░░░░░░░░░░░░     0/4   ○ 4 waiting                              -   fd1

fd1: fd1 is activating [fd-in-progress]"""
    )


def test_hosts_stand_under_their_fault_domain_when_asked_for() -> None:
    service = ServiceView(
        service="hello", version="1.1.0", state="healthy", address="127.64.0.10:20000",
        since=NOW, age_s=1.0,
    )  # fmt: skip
    host = HostView(
        name="h01", address="127.64.0.10", environment="lab", machine_function="web",
        cell="lab.web.c0", fault_domain="fd2", alive=True, services=[service],
    )  # fmt: skip
    dead = msgspec.structs.replace(host, name="h02", alive=False)
    lines = text_of(view_rollout(ROLLOUT, NOW, [host, dead])).splitlines()
    at = next(number for number, line in enumerate(lines) if "fd2" in line)
    assert lines[at + 1].split() == ["├─", "✔", "h01", "healthy", "1.1.0"]
    assert lines[at + 2].split()[:5] == ["└─", "✖", "h02", "down", "1.1.0"]
    assert "not reachable" in lines[at + 2]


def test_names_from_outside_are_never_read_as_markup() -> None:
    reason = Reason(code="x", message="[red]not markup[/] and [/broken]")
    hostile = msgspec.structs.replace(ROLLOUT, reasons=[reason], version="[bold]1")
    shown = text_of(view_rollout(hostile, NOW))
    assert "[red]not markup[/] and [/broken]" in shown
    assert "[bold]1" in shown
    assert "[bold]1" in text_of(view_history([hostile], NOW))


def test_one_line_says_state_counts_and_reason() -> None:
    assert rollout_line(ROLLOUT) == (
        "hello 1.2.0 ◌ running  fd0 ✔ 4/4  fd1 ● 1/4  fd2 ○ 0/4  - fd1 is activating"
    )


def test_an_unknown_state_of_a_newer_control_plane_is_shown() -> None:
    strange = domain("fd0", states={"pondering": 4})
    view = msgspec.structs.replace(ROLLOUT, fault_domains=[strange])
    assert "? 4 pondering" in text_of(view_rollout(view, NOW))


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"states": {"healthy": 3, "failed": 1}, "healthy": 3, "failed": 1}, "failed"),
        ({"states": {"healthy": 2, "rolling-back": 2}, "healthy": 2}, "rolling-back"),
        ({"states": {"healthy": 4}, "healthy": 4}, "healthy"),
        ({"states": {"staged": 3, "starting": 1}}, "starting"),
        ({"states": {"fetching": 4}}, "fetching"),
        ({"states": {"waiting": 4}}, "waiting"),
        ({"total": 0}, "waiting"),
    ],
)
def test_a_fault_domain_shows_its_worst_else_its_furthest_state(fields, state) -> None:
    assert fault_domain_state(domain("fd0", **fields)) == state


@pytest.mark.parametrize(
    ("done", "failed", "total", "cells"),
    [(0, 0, 0, 0), (1, 0, 1000, 1), (999, 0, 1000, 11), (1000, 0, 1000, 12), (0, 0, 5, 0)],
)
def test_a_bar_is_full_only_when_all_is_done_and_empty_only_when_nothing_is(
    done: int, failed: int, total: int, cells: int
) -> None:
    assert bar(done, failed, total).count("█") == cells


def test_every_state_of_a_rollout_has_its_own_look() -> None:
    assert all(look(state).glyph != "?" for state in get_args(RolloutState))


def test_a_rollout_that_waits_for_signatures_says_so_everywhere() -> None:
    text = "1 of 2 signatures: p2pctl rollout sign r-7 --key FILE"
    waiting = msgspec.structs.replace(
        ROLLOUT, state="unsigned", reasons=[Reason(code="unsigned", message=text)]
    )
    for shown in (
        text_of(view_rollout(waiting, NOW)),
        text_of(view_history([waiting], NOW)),
        rollout_line(waiting),
    ):
        assert "unsigned" in shown
        assert text in " ".join(shown.split())
