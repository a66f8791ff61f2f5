"""Rollouts, cell records and orders: rows in, rows out, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import CellId, RolloutId, ServiceName, Version
from p2ptracker.storage.cell_tables import cell_records, orders, rollouts
from p2ptracker.storage.numbers import save_numbers
from p2ptracker.storage.order_number import OrderNumber

__all__ = [
    "RolloutRow",
    "StoredOrder",
    "cell_record_documents",
    "count_rollouts",
    "delete_orders",
    "find_rollout",
    "list_rollouts",
    "open_rollouts",
    "replace_envelopes",
    "save_cell_record",
    "save_orders",
    "save_rollout",
    "stored_orders",
]


_CHANGING = ("version_major", "version_minor", "envelope", "issued")
_Statement = TypeVar("_Statement", sa.Update, sa.Delete)


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout: ``document`` belongs to the orchestrator, the rest is searched for."""

    id: RolloutId
    service: ServiceName
    version: Version
    state: str
    is_final: bool
    created_at: float
    document: bytes


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The newest order of one register of a cell's state, as sealed.

    ``issued``: by this control plane; others came from the cell.  ``numbers``: what is to be
    remembered even when the order is forgotten; only for storing.
    """

    cell: CellId
    key: str
    version: tuple[int, int]
    envelope: bytes
    issued: bool = False
    numbers: tuple[OrderNumber, ...] = ()


def save_rollout(connection: sa.Connection, row: RolloutRow) -> None:
    """Insert the rollout, or replace what changes of it."""
    values = msgspec.structs.asdict(row)
    changing = {name: values[name] for name in ("state", "is_final", "document")}
    statement = insert(rollouts).on_conflict_do_update(index_elements=["id"], set_=changing)
    connection.execute(statement, values)


def find_rollout(connection: sa.Connection, rollout: RolloutId) -> RolloutRow | None:
    """Return the rollout, if there is one."""
    query = sa.select(rollouts).where(rollouts.c.id == rollout)
    return next((_rollout_row(row) for row in connection.execute(query)), None)


def list_rollouts(
    connection: sa.Connection, *, service: str = "", limit: int, after: str = ""
) -> list[RolloutRow]:
    """Newest first; *after* is the id that ended the page before (keyset pagination)."""
    query = sa.select(rollouts)
    if service:
        query = query.where(rollouts.c.service == service)
    last = find_rollout(connection, RolloutId(after)) if after else None
    if last is not None:
        position = sa.tuple_(rollouts.c.created_at, rollouts.c.id)
        query = query.where(position < sa.tuple_(last.created_at, last.id))
    query = query.order_by(rollouts.c.created_at.desc(), rollouts.c.id.desc())
    return [_rollout_row(row) for row in connection.execute(query.limit(limit))]


def open_rollouts(connection: sa.Connection) -> list[RolloutRow]:
    """Every rollout that is not final, oldest first: what a restart goes on with."""
    query = sa.select(rollouts).where(rollouts.c.is_final.is_(False))
    query = query.order_by(rollouts.c.created_at, rollouts.c.id)
    return [_rollout_row(row) for row in connection.execute(query)]


def count_rollouts(connection: sa.Connection, service: ServiceName) -> int:
    """How many rollouts of *service* there ever were."""
    query = sa.select(sa.func.count()).select_from(rollouts).where(rollouts.c.service == service)
    return connection.execute(query).scalar_one()


def save_cell_record(connection: sa.Connection, cell: CellId, document: bytes) -> None:
    """Remember *document* as what the orchestrator knows of *cell*, in place of the last one."""
    statement = insert(cell_records).on_conflict_do_update(
        index_elements=["cell"], set_={"document": document}
    )
    connection.execute(statement, {"cell": cell, "document": document})


def cell_record_documents(connection: sa.Connection) -> dict[CellId, bytes]:
    """What the orchestrator remembers of every cell."""
    rows = connection.execute(sa.select(cell_records.c.cell, cell_records.c.document))
    return {CellId(cell): document for cell, document in rows}


def save_orders(connection: sa.Connection, items: Sequence[StoredOrder]) -> None:
    """Keep each order unless its register already holds one that is as new."""
    statement = insert(orders)
    new = statement.excluded
    newer = sa.or_(
        new.version_major > orders.c.version_major,
        sa.and_(
            new.version_major == orders.c.version_major,
            new.version_minor > orders.c.version_minor,
        ),
    )
    upsert = statement.on_conflict_do_update(
        index_elements=["cell", "key"],
        set_={name: new[name] for name in _CHANGING},
        where=newer,
    )
    rows = [
        {
            "cell": item.cell,
            "key": item.key,
            "version_major": item.version[0],
            "version_minor": item.version[1],
            "envelope": item.envelope,
            "issued": item.issued,
        }
        for item in items
    ]
    if rows:
        connection.execute(upsert, rows)
    save_numbers(connection, [(item.cell, number) for item in items for number in item.numbers])


def stored_orders(connection: sa.Connection) -> list[StoredOrder]:
    """Every order of every cell: what a restart puts back into the replicas."""
    return [
        StoredOrder(
            cell=row.cell,
            key=row.key,
            version=(row.version_major, row.version_minor),
            envelope=row.envelope,
            issued=row.issued,
        )
        for row in connection.execute(sa.select(orders).order_by(orders.c.cell, orders.c.key))
    ]


def replace_envelopes(connection: sa.Connection, sealed_anew: Iterable[StoredOrder]) -> int:
    """Put other envelopes in the place of those with the same versions; newer orders stay.

    Returns:
        How many were there to be replaced.
    """
    statements = [
        _exactly(sa.update(orders), item).values(envelope=item.envelope) for item in sealed_anew
    ]
    return sum(connection.execute(statement).rowcount for statement in statements)


def delete_orders(connection: sa.Connection, items: Iterable[StoredOrder]) -> None:
    """Forget orders that nobody believes any more; newer ones stay."""
    for item in items:
        connection.execute(_exactly(sa.delete(orders), item))


def _exactly(statement: _Statement, item: StoredOrder) -> _Statement:
    return statement.where(
        orders.c.cell == item.cell,
        orders.c.key == item.key,
        orders.c.version_major == item.version[0],
        orders.c.version_minor == item.version[1],
    )


def _rollout_row(row: sa.Row[Any]) -> RolloutRow:
    return RolloutRow(**row._mapping)
