"""How releases spread, a row per rollout: the document of ``p2ptracker.spreads``."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import RolloutId
from p2ptracker.storage.cell_tables import spreads

__all__ = ["find_spread", "save_spreads"]


def save_spreads(connection: sa.Connection, documents: Mapping[RolloutId, bytes]) -> None:
    """Keep each document in place of its rollout's last one."""
    if not documents:
        return
    statement = insert(spreads)
    upsert = statement.on_conflict_do_update(
        index_elements=["rollout"], set_={"document": statement.excluded.document}
    )
    rows = [{"rollout": rollout, "document": data} for rollout, data in documents.items()]
    connection.execute(upsert, rows)


def find_spread(connection: sa.Connection, rollout: RolloutId) -> bytes | None:
    """The document of one rollout; None when nothing was recorded."""
    query = sa.select(spreads.c.document).where(spreads.c.rollout == rollout)
    return connection.execute(query).scalar()
