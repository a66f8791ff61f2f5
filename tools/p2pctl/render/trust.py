"""Who may do what, how the audit log stands and where keys are, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from p2pctl.documents import AuditReport
from p2pctl.render.tables import plain_table
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.trust.key_files import KeyStatus

__all__ = ["view_audit", "view_keys", "view_matrix"]


def view_matrix(rows: Sequence[AccessRow]) -> RenderableType:
    """Every route, a line each."""
    table = plain_table("METHOD", "PATH", "PERMISSION", "ROLES")
    for row in rows:
        table.add_row(row.method, escape(row.path), row.permission, escape(", ".join(row.roles)))
    return table


def view_keys(keys: Sequence[KeyStatus]) -> RenderableType:
    """Every key, a line each; one that is not where it belongs is marked."""
    table = plain_table("ROLE", "KEY", "IS", "BELONGS", "WHO STEALS IT CAN")
    for key in keys:
        misplaced = key.place == "here" and key.belongs == "offline"
        place = Text(key.place, style="yellow" if misplaced or key.place == "missing" else "")
        shown = key.key_id.partition("/")[2] or "-"
        table.add_row(key.role, shown, place, key.belongs, key.stolen)
    return table


def view_audit(report: AuditReport) -> RenderableType:
    """What was verified, a line per fact."""
    table = Table.grid(padding=(0, 2))
    rows = {
        "audit log": f"whole, {report.entries} entries",
        "unfinished": f"{report.unfinished} calls began and left no outcome",
        "head": report.head,
    }
    for name, value in rows.items():
        if name != "unfinished" or report.unfinished:
            table.add_row(Text(name, style="bold"), Text(value))
    return table
