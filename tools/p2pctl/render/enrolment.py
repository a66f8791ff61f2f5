"""Tokens, and how hosts stand, as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from p2pctl.render.listings import show_time
from p2pctl.render.tables import plain_table
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus, TokenView

__all__ = ["view_enrolment", "view_tokens"]


def view_tokens(tokens: list[TokenView]) -> RenderableType:
    """One token bare, to be copied; several as a table."""
    if len(tokens) == 1:
        return Text(tokens[0].token)
    table = plain_table("HOST", "EXPIRES", "TOKEN")
    for each in tokens:
        table.add_row(each.host, show_time(each.expires_at), each.token)
    return table


def view_enrolment(status: EnrolmentStatus) -> RenderableType:
    """Every host, then the alarms."""
    hosts = plain_table("HOST", "STATE", "ENROLMENT", "SINCE", "TOKEN UNTIL", "REASON")
    for each in status.hosts:
        since = each.revoked_at if each.state == "revoked" else each.enrolled_at
        hosts.add_row(
            each.host,
            each.state,
            str(each.enrolment) if each.enrolment else "-",
            show_time(since),
            show_time(each.token_expires_at),
            Text(each.reason),
        )
    if not status.alarms:
        return hosts
    alarms = plain_table("ALARM", "HOST", "REASON")
    for alarm in status.alarms:
        alarms.add_row(show_time(alarm.at), alarm.host, Text(alarm.message))
    return Group(hosts, Text(), alarms)
