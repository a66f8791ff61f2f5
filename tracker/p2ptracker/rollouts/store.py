"""Rollouts in the database: found, listed, and saved with everything that changes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import NotFoundError
from p2pdeploy.ids import CellId, RolloutId, ServiceName
from p2pdeploy.planning.conducted import Conducted
from p2ptracker.rollouts.view import RolloutDocument, is_final
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.rollouts import (
    RolloutRow,
    StoredOrder,
    cell_record_documents,
    count_rollouts,
    find_rollout,
    list_rollouts,
    open_rollouts,
    save_cell_record,
    save_orders,
    save_rollout,
)

__all__ = ["RolloutStore"]

DOCUMENT_BYTES_MAX = 64 * 1024 * 1024  # our own rows; bounds a damaged database


class RolloutStore:
    """What the orchestrator remembers, over *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<RolloutStore {self._database!r}>"

    async def cells(self) -> Mapping[CellId, Conducted]:
        """The last record of every cell that ever had one."""
        documents = await self._database.read(cell_record_documents)
        return {
            cell: decode(document, Conducted, bytes_max=DOCUMENT_BYTES_MAX)
            for cell, document in documents.items()
        }

    async def open(self) -> Sequence[RolloutDocument]:
        """Every rollout that is not final, oldest first."""
        return [_document(row) for row in await self._database.read(open_rollouts)]

    async def find(self, rollout: RolloutId) -> RolloutDocument:
        """One rollout; raises NotFoundError."""
        row = await self._database.read(lambda c: find_rollout(c, rollout))
        if row is None:
            raise NotFoundError(
                f"there is no rollout {rollout!r}", hint="p2pctl rollout history", code="no-rollout"
            )
        return _document(row)

    async def history(self, *, service: str, limit: int, after: str) -> Sequence[RolloutDocument]:
        """Rollouts, newest first, of one service or of all (empty)."""
        rows = await self._database.read(
            lambda c: list_rollouts(c, service=service, limit=limit, after=after)
        )
        return [_document(row) for row in rows]

    async def next_id(self, service: ServiceName) -> RolloutId:
        """The id of the next rollout of *service*; it is taken when the rollout is saved."""
        number = await self._database.read(lambda c: count_rollouts(c, service))
        return RolloutId(f"{service}-{number + 1}")

    async def signed_seq_max(self, service: ServiceName) -> int:
        """The highest number that people were asked to sign a ROLLOUT of *service* under, unless
        cells know of a higher one.

        What they signed is good until it expires, also when the rollout was given up; so the
        next one gets a higher number.
        """
        newest = await self.history(service=service, limit=1, after="")
        return max((document.rollout_seq for document in newest), default=0)

    async def save(
        self,
        documents: Sequence[RolloutDocument],
        cells: Sequence[Conducted],
        orders: Sequence[StoredOrder],
    ) -> None:
        """All of it or nothing: an order and the state it follows from are never apart."""
        records = [(cell.cell, encode(cell)) for cell in cells]
        rows = [_row(document) for document in documents]

        def work(connection: sa.Connection) -> None:
            for row in rows:
                save_rollout(connection, row)
            for cell, record in records:
                save_cell_record(connection, cell, record)
            save_orders(connection, orders)

        await self._database.write(work)


def _row(document: RolloutDocument) -> RolloutRow:
    view = document.view
    return RolloutRow(
        id=view.id,
        service=view.service,
        version=view.version,
        state=view.state,
        is_final=is_final(document),
        created_at=view.created_at.timestamp(),
        document=encode(document),
    )


def _document(row: RolloutRow) -> RolloutDocument:
    return decode(row.document, RolloutDocument, bytes_max=DOCUMENT_BYTES_MAX)
