"""The picture of a release that spreads: whole, in bounds, and nothing in it is markup."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from p2pctl.render.coverage_svg import HEIGHT, LEFT, WIDTH, coverage_svg
from p2pdeploy.ids import RolloutId, ServiceName, Version
from p2pdeploy.messages.swarm import CoveragePoint, SourceBytes, SpreadView, SwarmView

SVG = "{http://www.w3.org/2000/svg}"


def spread_of(
    seconds: float, count: int, *, limit_s: float | None = 28.0, version: str = "1.0"
) -> SpreadView:
    points = [
        CoveragePoint(
            at_s=seconds * number / max(1, count - 1),
            coverage=number / max(1, count - 1),
            p50=number / max(1, count - 1),
            least=(number / max(1, count - 1)) ** 2,
        )
        for number in range(count)
    ]
    swarm = SwarmView(
        size_bytes=64 << 20,
        hosts=16,
        hosts_complete=16,
        coverage=1.0,
        received=SourceBytes(),
        limit_s=limit_s,
        last_s=seconds,
        last_x=1.1 if limit_s else None,
    )
    return SpreadView(
        rollout=RolloutId("hello-1"),
        service=ServiceName("hello"),
        version=Version(version),
        began_at=datetime(2026, 1, 2, tzinfo=UTC),
        swarm=swarm,
        points=points,
    )


def drawn(spread: SpreadView) -> ElementTree.Element:
    return ElementTree.fromstring(coverage_svg(spread))


def words(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.5, 2), (31.0, 32), (700.0, 350), (90_000.0, 512), (5e6, 512)]
)
def test_all_of_it_is_inside_the_picture(seconds: float, count: int) -> None:
    picture = drawn(spread_of(seconds, count))
    curves = list(picture.iter(f"{SVG}polyline"))
    assert len(curves) == 3
    for curve in curves:
        places = [tuple(map(float, at.split(","))) for at in curve.attrib["points"].split()]
        assert len(places) == count
        assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert places == sorted(places, key=lambda place: place[0])
    for line in picture.iter(f"{SVG}line"):
        assert 0 <= float(line.attrib["x1"]) <= WIDTH
        assert 0 <= float(line.attrib["x2"]) <= WIDTH
    assert 4 <= len(picture.findall(f".//{SVG}line[@class='grid']")) <= 18


def test_axes_have_names_with_units_and_the_limit_its_time() -> None:
    said = words(drawn(spread_of(31.0, 32)))
    assert {"time since the start (s)", "coverage (% of the release)", "limit 28s"} <= set(said)
    assert "hello 1.0 on 16 hosts" in said
    assert any("1.10 x of limit" in text for text in said)
    assert "time since the start (h)" in words(drawn(spread_of(90_000.0, 512)))


def test_without_a_limit_none_is_drawn() -> None:
    picture = drawn(spread_of(31.0, 32, limit_s=None))
    assert not picture.findall(f".//{SVG}line[@class='limit']")
    assert not any("limit" in text for text in words(picture))


def test_before_the_first_point_there_are_axes_alone() -> None:
    picture = drawn(spread_of(0.0, 0))
    assert not list(picture.iter(f"{SVG}polyline"))
    assert "100 %" in words(picture)


def test_names_are_text_and_never_markup() -> None:
    said = words(drawn(spread_of(31.0, 32, version="<script>&")))
    assert "hello <script>& on 16 hosts" in said


def test_it_is_ascii_so_that_any_stdout_takes_it() -> None:
    assert coverage_svg(spread_of(31.0, 32)).isascii()
