"""Release metadata and proposals: rows in, rows out, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import ServiceName, Version
from p2ptracker.storage.release_tables import release_documents, release_proposals

__all__ = [
    "StoredProposal",
    "find_proposal",
    "forget_proposal",
    "save_documents",
    "save_proposal",
    "stored_documents",
]


class StoredProposal(msgspec.Struct, frozen=True, kw_only=True):
    """``document`` is the Proposal; ``proposed_at`` in seconds since the epoch."""

    proposed_at: float
    document: bytes


def stored_documents(connection: sa.Connection) -> dict[str, bytes]:
    """Every document of the repository by its name; none before the first start."""
    rows = connection.execute(sa.select(release_documents.c.name, release_documents.c.document))
    return {row.name: row.document for row in rows}


def save_documents(connection: sa.Connection, changed: Mapping[str, bytes | None]) -> None:
    """Replace what changed; None deletes a document."""
    for name, document in changed.items():
        if document is None:
            named = release_documents.c.name == name
            connection.execute(release_documents.delete().where(named))
            continue
        statement = insert(release_documents).values(name=name, document=document)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"document": document})
        )


def find_proposal(
    connection: sa.Connection, service: ServiceName, version: Version
) -> StoredProposal | None:
    """The proposal that waits for signatures, if there is one."""
    columns = (release_proposals.c.proposed_at, release_proposals.c.document)
    row = connection.execute(sa.select(*columns).where(_named(service, version))).first()
    return None if row is None else StoredProposal(**row._mapping)


def save_proposal(
    connection: sa.Connection, service: ServiceName, version: Version, proposal: StoredProposal
) -> None:
    """Keep *proposal*, in the place of one for the same release."""
    values = msgspec.structs.asdict(proposal)
    statement = insert(release_proposals).values(service=service, version=version, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["service", "version"], set_=values)
    )


def forget_proposal(connection: sa.Connection, service: ServiceName, version: Version) -> None:
    """It was accepted, or is to be made anew."""
    connection.execute(release_proposals.delete().where(_named(service, version)))


def _named(service: ServiceName, version: Version) -> sa.ColumnElement[bool]:
    return sa.and_(release_proposals.c.service == service, release_proposals.c.version == version)
