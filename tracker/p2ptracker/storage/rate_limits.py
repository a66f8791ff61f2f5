"""Rate limits that people set: rows in, rows out, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.messages.limits import LimitKind, LimitScope
from p2ptracker.storage.cell_tables import rate_limits

__all__ = ["StoredLimit", "delete_limit", "save_limit", "stored_limits"]


class StoredLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit; ``scope``, ``name`` and ``kind`` say which, None is unlimited."""

    scope: LimitScope
    name: str
    kind: LimitKind
    download_bytes_per_s: int | None
    upload_bytes_per_s: int | None
    set_at: float  # seconds since the epoch


def save_limit(connection: sa.Connection, limit: StoredLimit) -> None:
    """Keep *limit* in the place of the one before."""
    values = msgspec.structs.asdict(limit)
    changing = {name: values[name] for name in values if name not in ("scope", "name", "kind")}
    statement = insert(rate_limits).on_conflict_do_update(
        index_elements=["scope", "name", "kind"], set_=changing
    )
    connection.execute(statement, values)


def delete_limit(connection: sa.Connection, limit: StoredLimit) -> None:
    """Forget *limit*."""
    table = rate_limits.c
    which = sa.and_(table.scope == limit.scope, table.name == limit.name, table.kind == limit.kind)
    connection.execute(sa.delete(rate_limits).where(which))


def stored_limits(connection: sa.Connection) -> Iterable[StoredLimit]:
    """All that are set."""
    rows = connection.execute(sa.select(rate_limits))
    return [StoredLimit(**row._mapping) for row in rows]
