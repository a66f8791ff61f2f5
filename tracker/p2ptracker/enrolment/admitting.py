"""Letting a host in: one transaction, or none of it happened.

What lets it in, a token or what was opened for its company certificate, is used up; its number
rises and its certificates are made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
import structlog
from blake3 import blake3
from prometheus_client import CollectorRegistry, Counter

from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import IssuedIdentity, SigningRequests
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.issue import issue_host
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.standing import Standing
from p2ptracker.storage.company_joins import use_join
from p2ptracker.storage.enrolment import Alarm, Enrolment, add_alarm, enrol_anew
from p2ptracker.storage.group_commit import GroupCommit
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.join_tokens import use_token

__all__ = ["Admission", "Admitter", "digest_of_secret"]

_REFUSED: dict[str, str] = {
    "token-unknown": "no such token",
    "token-other-host": "the token is for {}",
    "token-used-before": "the token was used already",
    "token-expired": "the token has expired",
    "certificate-not-opened": "nobody said that {} may join by its certificate",
    "certificate-used-before": "{} has joined by its certificate already",
    "certificate-expired": "the time in which {} could join by its certificate is over",
}
_ALARMING = frozenset({"token-used-before", "token-other-host", "certificate-used-before"})
_HOW_AGAIN = {
    "token": "a new one: p2pctl enroll token --host {}",
    "certificate": "an operator lets it in (again): p2pctl enroll import FILE --by-certificate",
}

log = structlog.get_logger(__name__)


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants in.  ``secret`` is a token's; None: the company's certificate proved the host."""

    host: HostName
    public_key: bytes
    requests: SigningRequests
    secret: bytes | None


class Admitter:
    """Lets hosts in, several in one transaction.

    Args:
        trust: What certificates are signed with.
        inventory: Says what stands in them; is told of new numbers.
        standing: Who is believed; is told of changes.
        database: Where tokens and numbers are kept.
        registry: Gets the figures.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        trust: TrustFolder,
        inventory: Inventory,
        standing: Standing,
        database: Database,
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._trust, self._inventory, self._standing = trust, inventory, standing
        self._clock = clock
        self._commits = GroupCommit(database, self._admit, self._note)
        self._alarms = Counter(
            "p2p_enrolment_alarms",
            "Tokens and certificates tried a second time, tokens tried for another host",
            registry=registry,
        )

    def __repr__(self) -> str:
        return f"<Admitter of {self._trust.fleet}>"

    async def admit(self, admission: Admission) -> IssuedIdentity:
        """Let a host in; durable on return.

        Raises:
            TrustError: it may not, or a signing request is malformed; nothing was used up.
            NotFoundError: the inventory lacks it.
            UnavailableError: the database cannot be written.
        """
        outcome = await self._commits.do(admission)
        if isinstance(outcome, P2PDeployError):
            raise outcome
        if isinstance(outcome, Alarm):
            raise _refusal(outcome, admission.host)
        return outcome[1]

    def _admit(
        self, connection: sa.Connection, admission: Admission
    ) -> tuple[Enrolment, IssuedIdentity] | Alarm:
        now = self._clock()
        alarm = _use_up(connection, admission, now)
        if alarm is not None:
            if alarm.code in _ALARMING:
                add_alarm(connection, alarm)
            return alarm
        host = self._inventory.get(admission.host)
        enrolment = enrol_anew(
            connection,
            host.name,
            enrolment_before=host.enrolment,
            public_key=admission.public_key,
            now=now,
        )
        issued = issue_host(
            self._trust,
            msgspec.structs.replace(host, enrolment=enrolment.enrolment),
            admission.public_key,
            admission.requests,
            now=datetime.fromtimestamp(now, UTC),
        )
        return enrolment, issued

    def _note(
        self, admission: Admission, outcome: tuple[Enrolment, IssuedIdentity] | Alarm
    ) -> None:
        """What is stored counts at once, also when the host has hung up meanwhile."""
        if isinstance(outcome, Alarm):
            if outcome.code in _ALARMING:
                self._alarms.inc()
                log.warning(
                    "enrolment-alarm",
                    host=outcome.host,
                    asked_for=admission.host,
                    code=outcome.code,
                )
            return
        enrolment, _ = outcome
        self._standing.put(enrolment)
        self._inventory.set_enrolment(enrolment.host, enrolment.enrolment)
        log.info("host-enrolled", host=enrolment.host, enrolment=enrolment.enrolment)


def digest_of_secret(secret: bytes) -> bytes:
    """How a token's secret is kept: not slow and not salted, 256 random bits can't be tried out."""
    return blake3(secret).digest()


def _refusal(alarm: Alarm, asked_for: HostName) -> TrustError:
    how = _HOW_AGAIN[alarm.code.partition("-")[0]]
    return TrustError(alarm.message, where=asked_for, hint=how.format(asked_for), code=alarm.code)


def _use_up(connection: sa.Connection, admission: Admission, now: float) -> Alarm | None:
    """Use up what lets the host in; what is wrong when there is nothing."""
    if admission.secret is None:
        kind, of = "certificate", admission.host
        use = str(use_join(connection, admission.host, now=now))
    else:
        kind, digest = "token", digest_of_secret(admission.secret)
        use, of = use_token(connection, digest, admission.host, now=now)
    if use == "used":
        return None
    code = f"{kind}-{use}"
    return Alarm(at=now, host=of, code=code, message=_REFUSED[code].format(repr(of)))
