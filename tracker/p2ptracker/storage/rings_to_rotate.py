"""Cells whose gossip keys a revoked host may hold: rows in, rows out, in the caller's transaction.

Kept beside the revocations, because keys are files: a kill between the two would leave a host that
is revoked in its cell's gossip for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import CellId
from p2ptracker.storage.identity_tables import rings_to_rotate

__all__ = ["note_new_key", "want_new_keys", "wanted_keys"]


def want_new_keys(connection: sa.Connection, cells: Iterable[CellId]) -> None:
    """A host of each of *cells* is revoked: its cell must get a key that it never had."""
    count = rings_to_rotate.c.revocations + 1
    statement = insert(rings_to_rotate).on_conflict_do_update(
        index_elements=["cell"], set_={"revocations": count}
    )
    for cell in cells:
        connection.execute(statement, {"cell": cell, "revocations": 1})


def wanted_keys(connection: sa.Connection) -> dict[CellId, int]:
    """Cells that wait for a key, and how many revocations ask for it."""
    rows = connection.execute(sa.select(rings_to_rotate).order_by(rings_to_rotate.c.cell))
    return {CellId(row.cell): row.revocations for row in rows}


def note_new_key(connection: sa.Connection, cell: CellId, revocations: int) -> None:
    """The cell has a key that was made after so many *revocations*; later ones ask for another."""
    asked = rings_to_rotate.c.revocations == revocations
    connection.execute(sa.delete(rings_to_rotate).where(rings_to_rotate.c.cell == cell, asked))
