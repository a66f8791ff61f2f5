"""What the API asks about operators.

Each change is one transaction: judged by what is on record, signed, recorded, or none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec
import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import RefusedError
from p2pdeploy.messages.audit import NOTHING_BEFORE, AuditEntry
from p2pdeploy.messages.operators import (
    IssuedOperator,
    IssueRequest,
    OperatorView,
    RenewalRequest,
    RevocationRequest,
)
from p2pdeploy.trust.identity import spiffe_id
from p2pdeploy.trust.operator_certificate import operator_certificate
from p2pdeploy.trust.operator_roles import check_roles
from p2pdeploy.trust.tls import Peer
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.issue import issue_operator
from p2ptracker.enrolment.standing import REFUSED_FOR_S, Standing
from p2ptracker.operators.made_here import certificates_made_here
from p2ptracker.operators.rules import (
    Issued,
    check_name,
    chosen,
    require_admin_left,
    require_issuable,
    require_renewable,
    require_room_to_refuse,
    require_valid_caller,
)
from p2ptracker.operators.view import operator_view
from p2ptracker.storage.audit import append_audit
from p2ptracker.storage.enrolment import refuse_serial, stored_refusals
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.operators import add_operator, forget_expired, known_operators

__all__ = ["OperatorDesk"]

LISTED_MAX = 5_000  # 1.5 MiB of JSON

T = TypeVar("T")

log = structlog.get_logger(__name__)


class OperatorDesk:
    """Issues, renews, lists and takes back operators' certificates.  ``open`` it before.

    Args:
        trust: What they are signed with.
        standing: Who is believed; is told of revocations.
        database: Where they are on record.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        trust: TrustFolder,
        standing: Standing,
        database: Database,
        clock: Callable[[], float],
    ) -> None:
        self._trust, self._standing = trust, standing
        self._database, self._clock = database, clock
        self._readers = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<OperatorDesk of {self._trust.fleet}>"

    async def open(self) -> None:
        """Put on record whom ``init`` made, or ``p2ptracker operator`` while nothing ran.

        Raises:
            UnavailableError: the database can't be written.
        """
        await self._take_in()

    async def issue(self, request: IssueRequest, by: Peer) -> IssuedOperator:
        """Give ``request.name`` a certificate, as the admin *by* says.

        Raises:
            RefusedError: no such role, the name is in use, or there are too many.
            TrustError: the signing request is malformed, or *by* was revoked meanwhile.
        """
        name, roles = check_name(request.name), check_roles(request.roles)

        def work(connection: sa.Connection) -> tuple[IssuedOperator, Collection[str]]:
            known, now = known_operators(connection), self._clock()
            require_valid_caller(_refused_in(connection), by.serial)
            lost = require_issuable(known, name, replaces=request.replaces, now=now)
            lifetime = timedelta(days=request.days)
            made = self._sign(connection, name, roles, request.request, lifetime, by)
            self._refuse(connection, lost, f"replaced by {made.serial}", by)
            return made, lost

        return await self._change(work)

    async def renew(self, request: RenewalRequest, by: Peer) -> IssuedOperator:
        """Another certificate for the caller: same name, same roles, as long as the one before.

        Raises:
            TrustError: the caller's certificate was revoked or is not on record here, or the
                signing request is malformed.
            RefusedError: it has too many.
        """

        def work(connection: sa.Connection) -> tuple[IssuedOperator, Collection[str]]:
            require_valid_caller(_refused_in(connection), by.serial)
            old = require_renewable(known_operators(connection), by.serial, now=self._clock())
            lifetime = timedelta(seconds=old.expires_at - old.issued_at)
            made = self._sign(
                connection, old.name, old.roles, request.request, lifetime, by, renews=old.serial
            )
            return made, ()

        return await self._change(work)

    async def revoke(self, request: RevocationRequest, by: Peer) -> list[OperatorView]:
        """Refuse certificates from now on; stored and in force on return.

        Returns:
            The certificates that are refused from now on and were not before.

        Raises:
            NotFoundError: the name has none that is valid, or the certificate is not.
            RefusedError: nobody could issue certificates after that, or too many are refused.
            TrustError: *by* was revoked meanwhile.
        """
        if bool(request.name) == bool(request.serial):
            raise RefusedError("name an operator or a serial number, one of the two", code="whom")

        def work(connection: sa.Connection) -> tuple[list[OperatorView], Collection[str]]:
            require_valid_caller(_refused_in(connection), by.serial)
            lost = chosen(known_operators(connection), request, now=self._clock())
            self._refuse(connection, lost, request.reason, by)
            known = known_operators(connection)
            return [
                operator_view(each, self._clock()) for each in known if each.serial in lost
            ], lost

        return await self._change(work)

    async def known(self) -> list[OperatorView]:
        """Certificates, the newest first; those that expired a month ago are not kept."""
        await self._take_in()
        known = await self._database.read(known_operators)
        return [operator_view(each, self._clock()) for each in known[:LISTED_MAX]]

    async def _change(self, work: Callable[[sa.Connection], tuple[T, Collection[str]]]) -> T:
        await self._take_in()
        result, lost = await self._database.write(work)
        for serial in lost:
            self._standing.refuse_serial(serial, self._clock())
            log.warning("certificate-refused", serial=serial)
        return result

    async def _take_in(self) -> None:
        """Put on record what was made on this machine since the last time."""
        found = await trio.to_thread.run_sync(
            certificates_made_here, self._trust, limiter=self._readers
        )
        known = {each.serial for each in await self._database.read(known_operators)}
        now = self._clock()
        fresh = [e for e in found if e.serial not in known and now < e.expires_at]
        if fresh:
            await self._database.write(partial(_take_on_record, issued=fresh, now=now))
        for each in fresh:
            log.warning("operator-made-on-this-machine", name=each.name, serial=each.serial)

    def _sign(
        self,
        connection: sa.Connection,
        name: str,
        roles: tuple[str, ...],
        request: bytes,
        lifetime: timedelta,
        by: Peer,
        *,
        renews: str = "",
    ) -> IssuedOperator:
        now = datetime.fromtimestamp(self._clock(), UTC)
        pem = issue_operator(self._trust, name, roles, request, lifetime=lifetime, now=now)
        serial, expires_at = operator_certificate(pem).serial, now + lifetime
        issued = Issued(
            serial=serial,
            name=name,
            roles=roles,
            issued_at=now.timestamp(),
            expires_at=expires_at.timestamp(),
            issued_by=spiffe_id(by.identity),
            renewed_from=renews,
        )
        forget_expired(connection, now=now.timestamp())
        add_operator(connection, issued)
        return IssuedOperator(
            name=name, roles=roles, serial=serial, expires_at=expires_at, certificate_pem=pem
        )

    def _refuse(
        self, connection: sa.Connection, lost: Collection[str], reason: str, by: Peer
    ) -> None:
        now = self._clock()
        require_admin_left(known_operators(connection), lost, caller=by.serial, now=now)
        refused = _refused_in(connection).items()
        require_room_to_refuse([s for s, at in refused if at > now - REFUSED_FOR_S], lost)
        for serial in lost:
            refuse_serial(connection, serial, reason=reason, now=now)


def _refused_in(connection: sa.Connection) -> dict[str, float]:
    return stored_refusals(connection).serials


def _take_on_record(connection: sa.Connection, issued: Sequence[Issued], now: float) -> None:
    """With an entry in the audit log, since no call left one."""
    for each in issued:
        add_operator(connection, each)
        entry = AuditEntry(
            seq=0,
            at=datetime.fromtimestamp(now, UTC),
            step="done",
            who=each.issued_by,
            method="LOCAL",
            path="/v1/operators",
            parameters=msgspec.json.encode(
                {"name": each.name, "roles": each.roles, "serial": each.serial}
            ).decode(),
            previous=NOTHING_BEFORE,
        )
        append_audit(connection, entry)
