"""How a release spreads, as lines in the head of a rollout."""

from __future__ import annotations

from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.listings import show_bytes
from p2pdeploy.messages.swarm import SOURCES, SwarmView

__all__ = ["swarm_lines"]

_BEHIND_SHOWN_MAX = 4  # `rollout why` has more


def swarm_lines(swarm: SwarmView) -> list[tuple[str, Text]]:
    """Names and what stands beside them; of what is not known there is no line."""
    lines = [("Spread:", Text(_spread(swarm)))]
    limit = _limit(swarm)
    if limit:
        lines.append(("Limit:", Text(limit)))
    received = _received(swarm)
    if received:
        lines.append(("Bytes from:", Text(received)))
    return lines + _behind(swarm)


def _spread(swarm: SwarmView) -> str:
    if swarm.last_s is not None:
        return f"all {swarm.hosts} hosts had it after {show_duration(swarm.last_s)}"
    complete = f"{swarm.hosts_complete} of {swarm.hosts} hosts have all"
    return f"{swarm.coverage:.0%} of all bytes; {complete}"


def _limit(swarm: SwarmView) -> str:
    if swarm.limit_s is None:
        return ""
    multiples = (
        ("median host", swarm.p50_x),
        ("last host", swarm.last_x),
        ("so far", swarm.so_far_x),
    )
    told = [f"{name} {ratio:.2f} x" for name, ratio in multiples if ratio is not None]
    return "; ".join([show_duration(swarm.limit_s), ", ".join(told)] if told else [])


def _received(swarm: SwarmView) -> str:
    sizes = [(source, getattr(swarm.received, source)) for source in SOURCES]
    return ", ".join(f"{source} {show_bytes(size)}" for source, size in sizes if size)


def _behind(swarm: SwarmView) -> list[tuple[str, Text]]:
    shown = swarm.stragglers[:_BEHIND_SHOWN_MAX]
    lines = [
        (
            "" if number else "Behind:",
            Text(f"{each.host} has {each.coverage:.0%}: {each.message} [{each.cause}]"),
        )
        for number, each in enumerate(shown)
    ]
    more = len(swarm.stragglers) - len(shown) + swarm.stragglers_more
    return [*lines, ("", Text(f"and {more} more", style="dim"))] if more else lines
