from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console, RenderableType

from p2pctl.render.listings import show_bytes, view_hosts, view_where
from p2pctl.render.plan import show_batches, view_plan
from p2pdeploy.messages.api import (
    PlannedCell,
    RolloutPlanView,
    ServiceView,
    WhereRow,
)
from tests.p2pctl.host_views import a_host


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1536, "1.5 KiB"),
        (256 * 1024**2, "256 MiB"),
        (5_242_880, "5 MiB"),
        (1024**3 * 2, "2 GiB"),
    ],
)
def test_sizes_have_three_digits_and_binary_units(count: int, text: str) -> None:
    assert show_bytes(count) == text


@pytest.mark.parametrize(
    ("batches", "text"), [([4], "4"), ([1, 5, 5], "1 + 2x5"), ([1, 1], "2x1"), ([], "")]
)
def test_batches_of_one_size_are_told_together(batches: list[int], text: str) -> None:
    assert show_batches(batches) == text


def drawn(view: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=160, color_system=None).print(view)
    return out.getvalue()


HELLO = ServiceView(
    service="hello", version="1.0.0", state="healthy", address="", since=None, age_s=60.0
)
H1 = a_host(HELLO)


@pytest.mark.parametrize(
    ("fields", "alive"), [({"alive": False}, "no"), ({"revoked": True}, "revoked")]
)
def test_the_last_word_of_a_host_that_is_gone_is_not_told_as_its_state(
    fields: dict[str, bool], alive: str
) -> None:
    gone = msgspec.structs.replace(H1, **fields)
    row = WhereRow(
        host="h1", version="1.0.0", state="healthy", age_s=60.0, **{"alive": True, **fields}
    )
    for shown in (drawn(view_hosts([gone])), drawn(view_where([row]))):
        assert "healthy when last heard" in shown
        assert "✔ healthy" not in shown
        assert f"✖ {alive}" in shown
    assert "✔ healthy" in drawn(view_hosts([H1]))


def test_no_listing_ends_a_line_in_blanks() -> None:
    lines = drawn(view_hosts([H1])).splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_a_plan_tells_a_revoked_host_from_one_that_is_down() -> None:
    cell = PlannedCell(
        cell="lab.web.c0",
        current="",
        baseline="",
        fault_domains=[],
        absent=["h7", "h8"],
        unchanged=[],
    )
    plan = RolloutPlanView(
        service="hello", version="1", changes=1, check_index="x", max_unavailable=1,
        failure_fraction_max=0.1, brakes_max=1, bake_s=1, settle_s=1, activation_max_s=1,
        lease_s=30, cells=[cell],
    )  # fmt: skip
    shown = drawn(view_plan(plan, revoked={"h8"}))
    assert "down now, converge later: h7\n" in shown
    assert "revoked, take no part: h8" in shown


def test_hosts_have_a_column_of_limits_once_one_is_limited() -> None:
    assert "LIMIT" not in drawn(view_hosts([H1]))
    limited = msgspec.structs.replace(
        H1, download_limit_bytes_per_s=25_000_000, upload_limit_bytes_per_s=25_000_000
    )
    shown = drawn(view_hosts([limited, H1]))
    assert "LIMIT" in shown
    assert "200 Mbit/s" in shown
    assert "unlimited" in shown
    one_way = msgspec.structs.replace(limited, upload_limit_bytes_per_s=None)
    assert "200 Mbit/s down, unlimited up" in drawn(view_hosts([one_way]))
