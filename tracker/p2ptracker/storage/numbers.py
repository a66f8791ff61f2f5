"""The highest numbers of orders that were ever verified.  Never deleted.

Hosts keep on disk what they have seen, and believe nothing below it.  The orders themselves go
when the keys that sealed them do; whoever counts on must still know how far hosts were taken.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import CellId
from p2ptracker.storage.cell_tables import highest_numbers
from p2ptracker.storage.order_number import OrderNumber

__all__ = ["save_numbers", "stored_numbers"]


def save_numbers(connection: sa.Connection, numbers: Iterable[tuple[CellId, OrderNumber]]) -> None:
    """Remember each that is higher than what is stored of its cell; lower ones change nothing."""
    rows = [{"cell": cell, **msgspec.structs.asdict(each)} for cell, each in numbers]
    if not rows:
        return
    statement = insert(highest_numbers)
    higher = statement.excluded.number
    upsert = statement.on_conflict_do_update(
        index_elements=["cell", "kind", "service"],
        set_={"number": higher},
        where=higher > highest_numbers.c.number,
    )
    connection.execute(upsert, rows)


def stored_numbers(connection: sa.Connection) -> list[tuple[CellId, OrderNumber]]:
    """What a restart counts on from, by cell."""
    rows = connection.execute(sa.select(highest_numbers))
    return [(row.cell, OrderNumber(row.kind, row.service, row.number)) for row in rows]
