"""Rates on the command line: ``200Mbit/s``, ``25MB/s``, ``512KiB/s``, ``unlimited``."""

from __future__ import annotations

import re

import click

from p2pdeploy.messages.rates import RATE_BYTES_PER_S_MAX, RATE_BYTES_PER_S_MIN

__all__ = ["RATE", "UNLIMITED_RATE", "Rate", "RateType", "parse_rate", "show_rate"]

UNLIMITED_RATE = "unlimited"
_UNITS_BYTES = {
    **{f"{prefix}bit": 10**power / 8 for prefix, power in (("k", 3), ("M", 6), ("G", 9))},
    **{f"{prefix}B": float(10**power) for prefix, power in (("k", 3), ("M", 6), ("G", 9))},
    **{f"{prefix}iB": float(2**power) for prefix, power in (("K", 10), ("M", 20), ("G", 30))},
}
_FORM = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)(?:/s|ps)")
_EXAMPLES = "write for example 200Mbit/s, 25MB/s, 512KiB/s or unlimited"

Rate = int | None
"""Bytes per second; None is unlimited."""


def parse_rate(text: str) -> Rate:
    """Return what *text* means.

    Raises:
        ValueError: no number with a unit per second, or a rate that no host could keep to.
    """
    if text.strip() == UNLIMITED_RATE:
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a rate; {_EXAMPLES}")
    unit = _UNITS_BYTES.get(match[2])
    if unit is None:
        raise ValueError(
            f"{text!r}: unknown unit {match[2]!r}, one of {', '.join(_UNITS_BYTES)}; {_EXAMPLES}"
        )
    rate = float(match[1]) * unit
    if not RATE_BYTES_PER_S_MIN <= rate <= RATE_BYTES_PER_S_MAX:
        low, high = show_rate(RATE_BYTES_PER_S_MIN), show_rate(RATE_BYTES_PER_S_MAX)
        raise ValueError(f"{text!r} is not between {low} and {high}")
    return round(rate)


def show_rate(rate_bytes_per_s: int | None) -> str:
    """In bits, as links are named: ``200 Mbit/s``, ``1.5 Gbit/s``, ``unlimited``."""
    if rate_bytes_per_s is None:
        return UNLIMITED_RATE
    bits = rate_bytes_per_s * 8.0
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.3g} {unit}"
        bits /= 1000
    return f"{bits:.3g} Gbit/s" if bits < 1000 else f"{bits:.0f} Gbit/s"


class RateType(click.ParamType[Rate]):
    """A rate as an argument; the value is bytes per second, None for unlimited."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Rate:
        try:
            return parse_rate(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


RATE = RateType()
