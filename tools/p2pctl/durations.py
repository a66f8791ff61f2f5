"""Durations on the command line: ``500ms``, ``90s``, ``2.5m``, ``1h``; a bare number is seconds."""

from __future__ import annotations

import re

import click

__all__ = ["DURATION", "DurationType", "parse_duration_s", "show_duration"]

_UNITS_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_DURATION_MAX_S = 30 * 24 * 3600.0  # a month; more is a slip of the unit


def parse_duration_s(text: str) -> float:
    """Return the seconds that *text* means.

    Raises:
        ValueError: not a number with one of ms, s, m, h, or more than 30 days.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 500ms, 90s, 2.5m or 1h")
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if seconds > _DURATION_MAX_S:
        raise ValueError(f"{text!r} is longer than 30 days")
    return seconds


def show_duration(seconds: float) -> str:
    """*seconds* in at most two units, as people read ages: ``850ms``, ``9.5s``, ``4m10s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


class DurationType(click.ParamType[float]):
    """A duration as an option; the value is seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = DurationType()
