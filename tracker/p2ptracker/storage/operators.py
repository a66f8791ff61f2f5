"""Certificates of operators, on record from the day they are made until a month after their end."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2ptracker.operators.rules import Issued
from p2ptracker.storage.identity_tables import operator_certificates, refused_serials

__all__ = ["add_operator", "forget_expired", "known_operators"]

KEPT_S = 30 * 86_400.0  # who had access last month is asked for; the audit log knows the rest
KNOWN_MAX = 20_000  # more than the rules let through within two months


def add_operator(connection: sa.Connection, issued: Issued) -> None:
    """Put *issued* on record.  Twice is once: what was there stays."""
    row = msgspec.structs.asdict(issued)
    del row["revoked_at"], row["reason"]
    row["roles"] = msgspec.json.encode(issued.roles).decode()
    connection.execute(insert(operator_certificates).on_conflict_do_nothing(), row)


def known_operators(connection: sa.Connection) -> list[Issued]:
    """Every certificate on record, the newest first."""
    joined = operator_certificates.outerjoin(
        refused_serials, operator_certificates.c.serial == refused_serials.c.serial
    )
    revoked = (
        refused_serials.c.refused_at.label("revoked_at"),
        sa.func.coalesce(refused_serials.c.reason, "").label("reason"),
    )
    query = sa.select(*operator_certificates.c, *revoked).select_from(joined)
    newest = query.order_by(operator_certificates.c.issued_at.desc(), "serial").limit(KNOWN_MAX)
    return [_issued(row) for row in connection.execute(newest)]


def forget_expired(connection: sa.Connection, *, now: float) -> None:
    """Drop what expired long ago."""
    old = operator_certificates.c.expires_at < now - KEPT_S
    connection.execute(sa.delete(operator_certificates).where(old))


def _issued(row: sa.Row[Any]) -> Issued:
    fields = dict(row._mapping)
    fields["roles"] = msgspec.json.decode(row.roles, type=tuple[str, ...])
    return Issued(**fields)
