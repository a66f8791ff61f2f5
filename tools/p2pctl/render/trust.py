"""Who may do what, how the audit log stands and where keys are, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from p2pctl.documents import AuditReport
from p2pctl.render.listings import show_time
from p2pctl.render.tables import plain_table
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.operators import IssuedOperator, OperatorView
from p2pdeploy.trust.key_files import KeyStatus

__all__ = ["view_audit", "view_issued", "view_keys", "view_matrix", "view_operators"]


def view_matrix(rows: Sequence[AccessRow]) -> RenderableType:
    """Every route, a line each."""
    table = plain_table("METHOD", "PATH", "PERMISSION", "ROLES")
    for row in rows:
        table.add_row(row.method, escape(row.path), row.permission, escape(", ".join(row.roles)))
    return table


def view_operators(certificates: Sequence[OperatorView]) -> RenderableType:
    """Every certificate, a line each."""
    table = plain_table("NAME", "ROLES", "STATE", "ISSUED", "EXPIRES", "BY", "SERIAL", "REASON")
    for each in certificates:
        table.add_row(
            each.name,
            escape(", ".join(each.roles)),
            Text(each.state, style="" if each.state == "valid" else "yellow"),
            show_time(each.issued_at),
            show_time(each.expires_at),
            each.issued_by.partition("://")[2].partition("/")[2],
            each.serial,
            Text(each.reason),
        )
    return table


def view_issued(issued: IssuedOperator) -> RenderableType:
    """One certificate in a line."""
    roles, until = ", ".join(issued.roles), show_time(issued.expires_at)
    return Text(f"{issued.name}: {roles}, until {until}, serial {issued.serial}")


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
