"""Rows of the audit log: only ever appended, each chained to the last."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from p2pdeploy.ids import Digest
from p2pdeploy.messages.audit import AuditEntry, ChainEnd, chained
from p2ptracker.storage.identity_tables import audit

__all__ = ["append_audit", "audit_entries"]


def append_audit(connection: sa.Connection, entry: AuditEntry) -> AuditEntry:
    """Store *entry* behind the last one; returns it with its number and digest."""
    query = sa.select(audit.c.seq, audit.c.digest).order_by(audit.c.seq.desc()).limit(1)
    last = connection.execute(query).first()
    end = ChainEnd(seq=last.seq, digest=Digest(last.digest)) if last else ChainEnd()
    placed = chained(entry, end)
    row = {"seq": placed.seq, "digest": placed.digest, "document": msgspec.json.encode(placed)}
    connection.execute(audit.insert(), row)
    return placed


def audit_entries(connection: sa.Connection, *, after: int, limit: int) -> list[AuditEntry]:
    """Entries with a number above *after*, in order."""
    query = sa.select(audit.c.document).where(audit.c.seq > after)
    rows = connection.execute(query.order_by(audit.c.seq).limit(limit))
    return [msgspec.json.decode(document, type=AuditEntry) for (document,) in rows]
