"""Rotations of signing keys: rows in, rows out, in the caller's transaction."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2ptracker.storage.cell_tables import key_rotations

__all__ = ["forget_rotation", "save_rotation", "stored_rotations"]


def save_rotation(connection: sa.Connection, role: str, document: bytes) -> None:
    """Remember *document* as what is under way of *role*."""
    statement = insert(key_rotations).on_conflict_do_update(
        index_elements=["role"], set_={"document": document}
    )
    connection.execute(statement, {"role": role, "document": document})


def forget_rotation(connection: sa.Connection, role: str) -> None:
    """It is done."""
    connection.execute(key_rotations.delete().where(key_rotations.c.role == role))


def stored_rotations(connection: sa.Connection) -> dict[str, bytes]:
    """What is under way, by role."""
    rows = connection.execute(sa.select(key_rotations).order_by(key_rotations.c.role))
    return {row.role: row.document for row in rows}
