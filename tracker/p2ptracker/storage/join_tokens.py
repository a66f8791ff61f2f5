"""Join tokens: each lets one host in, once, until it expires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa

from p2pdeploy.ids import HostName
from p2ptracker.storage.identity_tables import join_tokens

__all__ = ["StoredToken", "TokenUse", "open_tokens", "put_tokens", "use_token"]

USED_TOKENS_KEPT_S = 30 * 86_400.0  # a copied token that is tried later than that is just unknown

TokenUse = Literal["used", "unknown", "other-host", "used-before", "expired"]


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept; times in seconds since the epoch."""

    digest: bytes
    host: HostName
    issued_at: float
    expires_at: float


def put_tokens(connection: sa.Connection, tokens: Sequence[StoredToken], *, now: float) -> None:
    """Store *tokens*; each replaces the one its host did not use."""
    stale = sa.or_(
        sa.and_(join_tokens.c.used_at.is_(None), join_tokens.c.host == sa.bindparam("of_host")),
        join_tokens.c.expires_at < now - USED_TOKENS_KEPT_S,
    )
    connection.execute(
        sa.delete(join_tokens).where(stale), [{"of_host": token.host} for token in tokens]
    )
    connection.execute(join_tokens.insert(), [msgspec.structs.asdict(token) for token in tokens])


def use_token(
    connection: sa.Connection, digest: bytes, host: HostName, *, now: float
) -> tuple[TokenUse, HostName]:
    """Use a token up if it may be used for *host*; a refused one stays as it was.

    Returns:
        What came of it, and the host that the token is for (*host* for an unknown one).
    """
    used = connection.execute(
        sa.update(join_tokens)
        .where(
            join_tokens.c.digest == digest,
            join_tokens.c.host == host,
            join_tokens.c.used_at.is_(None),
            join_tokens.c.expires_at > now,
        )
        .values(used_at=now)
    )
    if used.rowcount == 1:
        return "used", host
    row = connection.execute(sa.select(join_tokens).where(join_tokens.c.digest == digest)).first()
    if row is None:
        return "unknown", host
    if row.used_at is not None:
        return "used-before", HostName(row.host)
    return ("other-host" if row.host != host else "expired"), HostName(row.host)


def open_tokens(connection: sa.Connection, *, now: float) -> dict[HostName, float]:
    """When the unused token of each host expires."""
    query = sa.select(join_tokens.c.host, join_tokens.c.expires_at)
    rows = connection.execute(
        query.where(join_tokens.c.used_at.is_(None), join_tokens.c.expires_at > now)
    )
    return {HostName(row.host): row.expires_at for row in rows}
