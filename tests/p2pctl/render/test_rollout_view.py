from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import get_args

import msgspec
import pytest
from rich.console import Console, RenderableType
from rich.live import Live

from p2pctl.render.glyphs import bar, look
from p2pctl.render.rollout import rollout_line, view_history, view_reasons, view_rollout
from p2pctl.render.rollout_tree import fault_domain_state
from p2pdeploy.messages.api import (
    FaultDomainView,
    Reason,
    RolloutHost,
    RolloutState,
    RolloutView,
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
Status:        ◌ running
Why:           fd1 is activating [fd-in-progress]
Took:          30s

NAME            PROGRESS       HOSTS   STATES                                TOOK   WHY
◌ hello 1.2.0   █████░░░░░░░    5/12                                          30s
└─ lab.web.c0
   ├─ ✔ fd0     ████████████     4/4   ✔ 4 healthy                            16s
   ├─ ● fd1     ███░░░░░░░░░     1/4   ✔ 1 healthy  ● 2 baking  ◌ 1 staged   5.0s
   └─ ○ fd2     ░░░░░░░░░░░░     0/4   ○ 4 waiting                              -   fd1"""
    )


def row(name: str, **fields) -> RolloutHost:
    known = {"cell": "lab.web.c0", "fault_domain": "fd2", "state": "staged", "version": "1.1.0"}
    return RolloutHost(**{**known, "alive": True, "host": name, **fields})


def test_hosts_are_told_by_this_rollout_and_not_by_what_runs_on_them() -> None:
    hosts = [row("h01"), row("h02", state="waiting", version="", alive=False)]
    lines = text_of(view_rollout(ROLLOUT, NOW, hosts)).splitlines()
    at = next(number for number, line in enumerate(lines) if "fd2" in line)
    assert lines[at + 1].split() == ["├─", "◌", "h01", "staged,", "runs", "1.1.0"]
    assert lines[at + 2].split() == ["└─", "✖", "h02", "waiting", "not", "reachable"]


FAILURE = Reason(code="exited", message="exited with 1", host="h07", fault_domain="fd1")
OTHER = Reason(code="unhealthy", message="answered 503", host="h08", fault_domain="fd1")


def test_a_host_that_failed_is_named_with_its_reason_after_the_way_back() -> None:
    back = domain("fd1", failed=2, states={"rolled-back": 2, "unchanged": 2})
    view = msgspec.structs.replace(
        ROLLOUT,
        state="rolled-back",
        fault_domains=[back],
        reasons=[FAILURE],
        failures=[FAILURE, OTHER],
    )
    shown = text_of(view_rollout(view, NOW))
    assert "Why:           fd1 h07: exited with 1 [exited]" in shown
    assert [line.split() for line in shown.splitlines()[-2:]] == [
        ["├─", "✖", "h07", "failed"],
        ["└─", "✖", "h08", "failed", "answered", "503"],
    ]
    assert "2 rolled-back  ○ 2 unchanged" in shown
    assert shown.count("exited with 1") == 1
    assert "fd1 h07: exited with 1" in rollout_line(view)


def test_no_name_is_told_twice() -> None:
    message = "h07 cannot be reached; waiting until it returns or is excused"
    lost = Reason(code="host-unreachable", message=message, host="h07")
    shown = text_of(view_rollout(msgspec.structs.replace(ROLLOUT, reasons=[lost]), NOW))
    assert f"Why:           {message} [host-unreachable]" in shown
    waits = Reason(code="waits", message="batch 1 of fd0 has 0 of 1 healthy", fault_domain="fd1")
    assert "fd1: batch 1 of fd0 has" in text_of(view_reasons([waits])), "who waits is told"


def test_a_view_ends_its_last_line() -> None:
    console = Console(file=StringIO(), width=140, color_system=None)
    console.print(view_rollout(ROLLOUT, NOW))
    console.print("next")
    assert console.file.getvalue().splitlines()[-1] == "next"


def on_screen(view: RenderableType, width: int, height: int) -> list[str]:
    """What a live view of a terminal of this size has on it at the end of a redraw."""
    stream = StringIO()
    console = Console(
        file=stream, width=width, height=height, color_system=None, force_terminal=True
    )
    with Live(view, console=console, auto_refresh=False) as live:
        stream.seek(0)
        stream.truncate()
        live.refresh()
        return (
            re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "").split("\n")
        )


LONG = "2 of 4 hosts to go, now in fd1, where the health check of the last answered 503 twice"


def test_in_80_columns_the_reason_and_what_is_waited_for_are_readable() -> None:
    waits = "fd1 has 1 of 4 healthy hosts, and none of them may fail any more before it goes on"
    domains = [*ROLLOUT.fault_domains[:2], domain("fd2", states={"waiting": 4}, waits_for=waits)]
    view = msgspec.structs.replace(
        ROLLOUT, fault_domains=domains, reasons=[Reason(code="activating", message=LONG)]
    )
    lines = on_screen(view_rollout(view, NOW, fits_screen=True), 80, 24)
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert f"{LONG} [activating]" in said
    assert waits in said
    assert "1 healthy ● 2 baking ◌ 1 staged" in said


def test_on_a_low_screen_the_reason_and_what_goes_on_stay_and_the_rest_is_counted() -> None:
    done = [
        domain(f"fd{n:02}", healthy=4, started_at=NOW, finished_at=NOW, states={"healthy": 4})
        for n in range(40)
    ]
    busy = domain("fd40", started_at=NOW, states={"baking": 4})
    after = [domain(f"fd{n}", states={"waiting": 4}) for n in range(41, 80)]
    view = msgspec.structs.replace(
        ROLLOUT,
        fault_domains=[*done, busy, *after],
        reasons=[Reason(code="activating", message=LONG)],
    )
    lines = on_screen(view_rollout(view, NOW, fits_screen=True), 80, 24)
    assert len(lines) <= 24
    assert LONG in " ".join(" ".join(lines).split())
    assert any("fd40" in line and "4 baking" in line for line in lines)
    assert lines[-1].startswith("… ")
    assert lines[-1].endswith(" more lines")
    whole = text_of(view_rollout(view, NOW))
    assert all(f"fd{n:02}" in whole for n in range(80))


def test_hosts_of_a_fault_domain_that_is_left_out_are_left_out_with_it() -> None:
    over = domain("fd0", total=30, healthy=30, started_at=NOW, finished_at=NOW)
    hosts = [row(f"a{n:02}", fault_domain="fd0", state="healthy") for n in range(30)]
    hosts += [row(f"b{n:02}", fault_domain="fd1", state="baking") for n in range(4)]
    view = msgspec.structs.replace(ROLLOUT, fault_domains=[over, domain("fd1", started_at=NOW)])
    lines = on_screen(view_rollout(view, NOW, hosts, fits_screen=True), 80, 24)
    assert not any(re.search(r" a\d\d", line) for line in lines)
    assert all(any(f"b{n:02}" in line for line in lines) for n in range(4))


def test_no_line_ends_in_blanks() -> None:
    console = Console(file=StringIO(), width=140, color_system=None)
    console.print(view_rollout(ROLLOUT, NOW))
    console.print(view_history([ROLLOUT], NOW))
    lines = console.file.getvalue().splitlines()
    assert lines == [line.rstrip() for line in lines]


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
