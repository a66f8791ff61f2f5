"""Which hosts may join once by a certificate of the company's CA, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import HostName
from p2ptracker.storage.identity_tables import company_joins, join_tokens

__all__ = ["JoinUse", "close_joins", "open_joins", "use_join", "waiting_joins"]

JoinUse = Literal["used", "not-opened", "used-before", "expired"]


def open_joins(
    connection: sa.Connection, hosts: Sequence[HostName], *, now: float, expires_at: float
) -> None:
    """Let each of *hosts* join once more; a token that one of them did not use is void."""
    rows = [
        {"host": host, "opened_at": now, "expires_at": expires_at, "used_at": None}
        for host in hosts
    ]
    statement = insert(company_joins)
    renewed = {name: statement.excluded[name] for name in ("opened_at", "expires_at", "used_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["host"], set_=renewed), rows)
    unused = sa.and_(join_tokens.c.used_at.is_(None), join_tokens.c.host == sa.bindparam("of_host"))
    connection.execute(sa.delete(join_tokens).where(unused), [{"of_host": host} for host in hosts])


def close_joins(connection: sa.Connection, hosts: Sequence[HostName]) -> None:
    """Void what *hosts* did not use: they get tokens instead."""
    unused = sa.and_(
        company_joins.c.used_at.is_(None), company_joins.c.host == sa.bindparam("of_host")
    )
    connection.execute(
        sa.delete(company_joins).where(unused), [{"of_host": host} for host in hosts]
    )


def use_join(connection: sa.Connection, host: HostName, *, now: float) -> JoinUse:
    """Use up what was opened for *host*; what is refused stays as it was."""
    used = connection.execute(
        sa.update(company_joins)
        .where(
            company_joins.c.host == host,
            company_joins.c.used_at.is_(None),
            company_joins.c.expires_at > now,
        )
        .values(used_at=now)
    )
    if used.rowcount == 1:
        return "used"
    row = connection.execute(sa.select(company_joins).where(company_joins.c.host == host)).first()
    if row is None:
        return "not-opened"
    return "used-before" if row.used_at is not None else "expired"


def waiting_joins(connection: sa.Connection, *, now: float) -> dict[HostName, float]:
    """Until when each host may join that did not yet."""
    query = sa.select(company_joins.c.host, company_joins.c.expires_at)
    rows = connection.execute(
        query.where(company_joins.c.used_at.is_(None), company_joins.c.expires_at > now)
    )
    return {HostName(row.host): row.expires_at for row in rows}
