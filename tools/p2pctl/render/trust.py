"""Who may do what, how the audit log stands and where keys are, as tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.documents import AuditReport
from p2pctl.render.listings import show_time
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.keys import KeyView, RotationAnswer
from p2pdeploy.messages.operators import IssuedOperator, OperatorView
from p2pdeploy.trust.key_files import KeyStatus

if TYPE_CHECKING:
    from p2pctl.rotating import NewKey

__all__ = [
    "expiring_soon",
    "view_audit",
    "view_issued",
    "view_key_files",
    "view_keys",
    "view_matrix",
    "view_new_key",
    "view_operators",
    "view_rotation",
]

_EXPIRES_SOON = dt.timedelta(days=30)
_IDS_SHOWN = 3  # of rollouts in a line


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


def view_keys(keys: Sequence[KeyView]) -> RenderableType:
    """Every role, a line each; what is misplaced, under way or expires soon is marked.

    What somebody has to do stands below, as a command.
    """
    table = plain_table(
        "ROLE", "KEYS", "SIGN", "IS", "BELONGS", "STANDS", "WHO STEALS IT CAN",
        wraps=("STANDS", "WHO STEALS IT CAN"),
    )  # fmt: skip
    now = dt.datetime.now(dt.UTC)
    for key in keys:
        misplaced = key.place == "here" and key.belongs == "offline"
        shown = [key_id.partition("/")[2] for key_id in key.key_ids]
        shown += [f"+{key_id.partition('/')[2]}" for key_id in key.next_key_ids]
        is_soon = bool(expiring_soon([key]))
        is_waiting = key.next_at is not None and key.next_at < now
        table.add_row(
            key.role,
            "\n".join(shown) or "-",
            f"{key.threshold} of {len(key.key_ids) or len(key.next_key_ids)}",
            Text(_place(key), style="yellow" if misplaced else ""),
            key.belongs,
            Text(_stands(key, now), style="yellow" if is_soon or is_waiting else ""),
            key.stolen,
        )
    due = [line for key in keys if (line := _to_do(key, now))]
    return Group(table, Text(), *(Text(line) for line in due)) if due else table


def _to_do(key: KeyView, now: dt.datetime) -> str:
    """What a rotation of *key* asks of people, with the command; empty when nothing."""
    if key.unsigned_rollouts:
        return f"{key.role} {_waits(key.unsigned_rollouts)}"
    if key.next_at is not None and key.next_at < now:  # else it would have been made by itself
        return f"{key.role} waits for its end: p2pctl keys rotate {key.role} --finish"
    return ""


def _place(key: KeyView) -> str:
    if key.belongs == "people":
        return f"with people, {key.threshold} of {len(key.key_ids) or len(key.next_key_ids)}"
    return key.place


def expiring_soon(keys: Sequence[KeyView]) -> list[str]:
    """A line for each document that only people sign again, and that expires within a month."""
    now = dt.datetime.now(dt.UTC)
    return [
        f"{key.role} expires in {max((key.expires_at - now).days, 0)} days, and hosts start nothing"
        f" new then: p2pctl keys renew {key.role.removeprefix('svc/')}"
        for key in keys
        if key.expires_at is not None
        and key.belongs != "online"
        and key.expires_at - now < _EXPIRES_SOON
    ]


def _stands(key: KeyView, now: dt.datetime) -> str:
    """Where its rotation stands, or how long its document holds."""
    if key.unsigned_rollouts:
        return f"{key.state}, waits for signatures on {len(key.unsigned_rollouts)} rollouts"
    if key.next_at is not None and key.next_at < now:
        return f"{key.state}, old keys still count"
    if key.next_at is not None:
        return f"{key.state}, next step {show_time(key.next_at)}"
    if key.expires_at is None:
        return "-"
    left = max(key.expires_at - now, dt.timedelta())
    return f"{left.days} days left" if left.days else f"{left.seconds // 3600} hours left"


def view_rotation(answer: RotationAnswer) -> RenderableType:
    """Where a rotation stands, in a line or two."""
    names = ", ".join(answer.key_ids)
    if answer.state == "done" or answer.next_at is None:
        return Text(f"{answer.role}: {names} and no other from now on")
    at, finish = show_time(answer.next_at), f"p2pctl keys rotate {answer.role} --finish"
    if answer.state == "announced":
        lines = [f"{answer.role}: hosts learn {names}, which signs from {at} on"]
        if not answer.by_itself:
            lines.append(f"'p2pctl keys status' says when to finish it: {finish} --key targets.key")
    elif answer.unsigned_rollouts:
        lines = [
            f"{answer.role}: {names} from now on; what was before counts until it is finished",
            f"that waits for {at}, and {_waits(answer.unsigned_rollouts)}",
        ]
    elif answer.by_itself:
        lines = [f"{answer.role}: {names} from now on; what was before counts until {at}"]
    else:
        lines = [f"{answer.role}: {names} from now on; what was before counts until it is finished"]
        lines.append(f"that may be from {at} on: {finish} --key targets.key")
    if answer.unsigned_rollouts and answer.state == "announced":
        lines.append(f"to end, it {_waits(answer.unsigned_rollouts)}")
    return Text("\n".join(lines))


def _waits(rollouts: Sequence[str]) -> str:
    more = f" and {len(rollouts) - _IDS_SHOWN} more" if len(rollouts) > _IDS_SHOWN else ""
    names = ", ".join(rollouts[:_IDS_SHOWN])
    return f"waits for signatures on {names}{more}: p2pctl rollout sign --standing --key FILE"


def view_new_key(key: NewKey) -> RenderableType:
    """Where the halves of a new key are."""
    return Text(f"private, keep it to yourself: {key.private}\npublic, give it away: {key.public}")


def view_key_files(keys: Sequence[KeyStatus]) -> RenderableType:
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
    table = FactTable()
    rows = {
        "audit log": f"whole, {report.entries} entries",
        "unfinished": f"{report.unfinished} calls began and left no outcome",
        "head": report.head,
    }
    for name, value in rows.items():
        if name != "unfinished" or report.unfinished:
            table.add_row(Text(name, style="bold"), Text(value))
    return table
