"""Rate limits as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.rate_option import show_rate
from p2pctl.render.listings import show_time
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.messages.limits import HostLimitsView, LimitView
from p2pdeploy.messages.rates import RatesInForce

__all__ = ["view_host_limits", "view_limit", "view_limits"]


def view_limit(limit: LimitView) -> RenderableType:
    """One limit."""
    return view_limits([limit])


def view_limits(limits: Sequence[LimitView]) -> RenderableType:
    """Limits, a line each."""
    if not limits:
        return Text("no limits are set")
    table = plain_table("OF", "NAME", "LIMITS", "DOWNLOAD", "UPLOAD", "SET")
    for limit in limits:
        is_uplink = limit.kind == "uplink"
        table.add_row(
            limit.scope,
            escape(limit.name),
            limit.kind,
            show_rate(limit.download_bytes_per_s),
            "-" if is_uplink else show_rate(limit.upload_bytes_per_s),
            show_time(limit.set_at),
        )
    return table


def view_host_limits(view: HostLimitsView) -> RenderableType:
    """What is set for one host, and what it keeps to."""
    table = FactTable()
    for name, value in (("host", view.host), ("cell", view.cell), *_in_force(view)):
        table.add_row(Text(name, style="bold"), Text(value))
    return Group(table, Text(), view_limits(view.limits))


def _in_force(view: HostLimitsView) -> list[tuple[str, str]]:
    rates = view.in_force
    if rates is None:
        return [("in force", f"unknown: {view.silence}")]
    return [
        ("download", f"{show_rate(rates.download_bytes_per_s)} ({rates.download_reason})"),
        ("upload", f"{show_rate(rates.upload_bytes_per_s)} ({rates.upload_reason})"),
        ("share of uplink", show_rate(rates.uplink_bytes_per_s)),
        ("pressure", _pressure(rates)),
    ]


def _pressure(rates: RatesInForce) -> str:
    unknown = f"; not known here: {', '.join(rates.missing)}" if rates.missing else ""
    return f"{rates.pressure:.2f}{unknown}"
