"""The highest numbers of orders that were ever verified.  Never deleted.

Hosts keep on disk what they have seen, and believe nothing below it.  The orders themselves go
when the keys that sealed them do; whoever counts on must still know how far hosts were taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import CellId, ServiceName
from p2ptracker.storage.schema import highest_numbers

__all__ = ["NumberKind", "OrderNumber", "save_numbers", "stored_numbers"]

NumberKind = Literal["rollout", "plan", "lease"]


class OrderNumber(msgspec.Struct, frozen=True):
    """How far a count has come: ``rollout_seq``, ``plan_seq``, or ``lease_seq`` (no service)."""

    kind: NumberKind
    service: ServiceName
    number: int


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
