"""A release's coverage over time as one SVG, the limit drawn in.  Pure.

Readable on white and on black: the browser's colour scheme decides (``prefers-color-scheme``), and
a viewer that knows no variables of CSS shows the light one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from p2pctl.durations import show_duration
from p2pctl.render.listings import show_bytes
from p2pdeploy.messages.swarm import CoveragePoint, SpreadView, SwarmView

__all__ = ["coverage_svg"]

WIDTH, HEIGHT = 920, 520
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 84, 96
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_TICKS_MAX = 8
_STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_MARGIN = 1.04  # room behind the last host

_STYLE = """
svg { --ground: #ffffff; --ink: #1f2933; --dim: #66727f; --grid: #e3e8ed;
      --all: #1668b3; --p50: #2f8f4e; --least: #c4500d; --limit: #1f2933; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #14181d; --ink: #e8edf2; --dim: #98a4b1; --grid: #2a323b;
        --all: #62b0f4; --p50: #6fd08c; --least: #ff9d5c; --limit: #e8edf2; } }
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
       fill: #1f2933; fill: var(--ink); }
.title { font-size: 18px; font-weight: 600; }
.dim { fill: #66727f; fill: var(--dim); }
.ground { fill: #ffffff; fill: var(--ground); }
.grid { stroke: #e3e8ed; stroke: var(--grid); stroke-width: 1; }
.curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
.all { stroke: #1668b3; stroke: var(--all); }
.p50 { stroke: #2f8f4e; stroke: var(--p50); }
.least { stroke: #c4500d; stroke: var(--least); }
.limit { stroke: #1f2933; stroke: var(--limit); stroke-dasharray: 6 5; stroke-width: 1.8; }
"""

_CURVES: tuple[tuple[str, str, Callable[[CoveragePoint], float]], ...] = (
    ("least", "host with least", lambda point: point.least),
    ("p50", "median host", lambda point: point.p50),
    ("all", "all hosts together", lambda point: point.coverage),
)


def coverage_svg(spread: SpreadView) -> str:
    """The whole document.

    Args:
        spread: As the control plane recorded it; without points only the axes and the limit show.
    """
    end_s = _end_s(spread)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        *_heading(spread),
        *_axes(end_s),
        *_limit(spread.swarm, end_s),
        *(
            f'<polyline class="curve {name}" points="{_places(spread.points, of, end_s)}"/>'
            for name, _, of in _CURVES
            if spread.points
        ),
        *_legend(spread.swarm),
        "</svg>",
    ]
    drawn = "\n".join(parts) + "\n"
    return drawn.encode("ascii", "xmlcharrefreplace").decode()  # whatever stdout's encoding is


def _end_s(spread: SpreadView) -> float:
    last_s = spread.points[-1].at_s if spread.points else 0.0
    return max(last_s, spread.swarm.limit_s or 0.0, 1.0) * _MARGIN


def _x(at_s: float, end_s: float) -> str:
    return f"{LEFT + _PLOT_WIDTH * at_s / end_s:.1f}"


def _y(share: float) -> str:
    return f"{TOP + _PLOT_HEIGHT * (1 - share):.1f}"


def _places(
    points: Iterable[CoveragePoint], of: Callable[[CoveragePoint], float], end_s: float
) -> str:
    return " ".join(f"{_x(point.at_s, end_s)},{_y(of(point))}" for point in points)


def _text(
    x: object, y: object, words: str, kind: str = "", anchor: str = "start", more: str = ""
) -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named} text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _line(x1: object, y1: object, x2: object, y2: object, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _heading(spread: SpreadView) -> list[str]:
    swarm = spread.swarm
    title = f"{spread.service} {spread.version} on {swarm.hosts} hosts"
    facts = [f"rollout {spread.rollout}", f"{show_bytes(swarm.size_bytes)} each"]
    facts.append(f"began {spread.began_at:%Y-%m-%d %H:%M:%S} UTC")
    return [
        _text(LEFT, 34, title, "title", more=' id="title"'),
        _text(LEFT, 56, " · ".join([*facts, *_results(swarm)]), "dim"),
    ]


def _results(swarm: SwarmView) -> list[str]:
    if swarm.last_s is None:
        ratio = f", {swarm.so_far_x:.2f} x of limit so far" if swarm.so_far_x else ""
        return [f"{swarm.hosts_complete} complete{ratio}"]
    ratio = f", {swarm.last_x:.2f} x of limit" if swarm.last_x else ""
    return [f"last host {show_duration(swarm.last_s)}{ratio}"]


def _axes(end_s: float) -> list[str]:
    bottom, right = TOP + _PLOT_HEIGHT, LEFT + _PLOT_WIDTH
    parts: list[str] = []
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        parts.append(_line(LEFT, y, right, y, "grid"))
        parts.append(_text(LEFT - 10, float(y) + 4.5, f"{percent} %", "dim", "end"))
    for at_s, label in _ticks(end_s):
        x = _x(at_s, end_s)
        parts.append(_line(x, TOP, x, bottom, "grid"))
        parts.append(_text(x, bottom + 20, label, "dim", "middle"))
    middle = TOP + _PLOT_HEIGHT / 2
    parts.append(
        _text(LEFT + _PLOT_WIDTH / 2, bottom + 42, f"time since the start ({_unit(end_s)})",
              anchor="middle")
    )  # fmt: skip
    turned = f' transform="rotate(-90 20 {middle})"'
    parts.append(_text(20, middle, "coverage (% of the release)", anchor="middle", more=turned))
    return parts


def _unit(end_s: float) -> str:
    return "s" if end_s <= 600 else "min" if end_s <= 4 * 3600 else "h"


def _ticks(end_s: float) -> Sequence[tuple[float, str]]:
    """Moments on the time axis with their labels in its unit, at most ``_TICKS_MAX`` and one."""
    step_s = next((step for step in _STEPS_S if end_s / step <= _TICKS_MAX), None)
    step_s = step_s or 86400 * -(-end_s // (86400 * _TICKS_MAX))
    per_unit = {"s": 1, "min": 60, "h": 3600}[_unit(end_s)]
    moments = [count * step_s for count in range(int(end_s / step_s) + 1)]
    return [(at_s, f"{at_s / per_unit:g}") for at_s in moments]


def _limit(swarm: SwarmView, end_s: float) -> list[str]:
    if not swarm.limit_s:
        return []
    x, top = _x(swarm.limit_s, end_s), _y(1)
    return [
        _line(_x(0, end_s), _y(0), x, top, "limit"),
        _line(x, top, x, TOP - 8, "limit"),
        _text(x, TOP - 13, f"limit {show_duration(swarm.limit_s)}", "dim", "middle"),
    ]


def _legend(swarm: SwarmView) -> list[str]:
    y = HEIGHT - 22
    shown = [(f"curve {name}", label) for name, label, _ in reversed(_CURVES)]
    shown += [("limit", "limit: origin and links")] if swarm.limit_s else []
    parts: list[str] = []
    for number, (kind, label) in enumerate(shown):
        x = LEFT + number * _PLOT_WIDTH // 4
        parts.append(_line(x, y - 4, x + 28, y - 4, kind))
        parts.append(_text(x + 36, y, label))
    return parts
