"""Letting hosts join, once each and for a while: by a token, or by their company's certificate.

What was opened for a host before and not used is void, whichever of the two it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import JOIN_SECRET_BYTES
from p2pdeploy.messages.enrolment_desk import TokenView
from p2pdeploy.trust.join_token import JoinToken, show_join_token
from p2ptracker.enrolment.admitting import digest_of_secret
from p2ptracker.storage.company_joins import close_joins, open_joins
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.join_tokens import StoredToken, put_tokens

__all__ = ["JoinOpener"]


class JoinOpener:
    """Opens joins of hosts that the inventory has.

    Args:
        pinned: SHA-256 of the fleet CA's certificate, which goes into the tokens.
        database: Where it is kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, pinned: bytes, database: Database, clock: Callable[[], float]) -> None:
        self._pinned, self._database, self._clock = pinned, database, clock

    def __repr__(self) -> str:
        return "<JoinOpener>"

    async def by_token(
        self, hosts: Sequence[HostName], ttl_s: float, *, api: str
    ) -> list[TokenView]:
        """A token for each of *hosts*; *api* is the URL that goes into them."""
        tokens = [self._token(host, api) for host in hosts]
        now = self._clock()
        if tokens:
            await self._database.write(partial(_put_tokens, tokens, now, now + ttl_s))
        until = _moment(now + ttl_s)
        return [
            TokenView(host=token.host, token=show_join_token(token), expires_at=until)
            for token in tokens
        ]

    async def by_certificate(self, hosts: Sequence[HostName], ttl_s: float) -> list[TokenView]:
        """Nobody gets a token: there is none."""
        now = self._clock()
        if hosts:
            work = partial(open_joins, hosts=hosts, now=now, expires_at=now + ttl_s)
            await self._database.write(work)
        until = _moment(now + ttl_s)
        return [TokenView(host=host, token="", expires_at=until) for host in hosts]

    def _token(self, host: HostName, api: str) -> JoinToken:
        secret = secrets.token_bytes(JOIN_SECRET_BYTES)
        return JoinToken(host=host, api=api, fingerprint=self._pinned, secret=secret)


def _put_tokens(
    tokens: Sequence[JoinToken], now: float, expires_at: float, connection: sa.Connection
) -> None:
    stored = [
        StoredToken(
            digest=digest_of_secret(token.secret),
            host=token.host,
            issued_at=now,
            expires_at=expires_at,
        )
        for token in tokens
    ]
    put_tokens(connection, stored, now=now)
    close_joins(connection, [token.host for token in tokens])


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(round(at), UTC)
