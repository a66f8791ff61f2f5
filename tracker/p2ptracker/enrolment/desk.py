"""What the API asks of enrolment.

An enrolment is one transaction: the token is used up, the number rises and the certificates are
made, or none of it happened.  Renewing touches no disk at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec
import sqlalchemy as sa
import structlog
import trio
from blake3 import blake3
from prometheus_client import CollectorRegistry, Counter

from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import (
    JOIN_SECRET_BYTES,
    EnrolRequest,
    IssuedIdentity,
    RenewRequest,
)
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus, TokenRequest, TokenView
from p2pdeploy.topology import Host
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.envelope import Verifier
from p2pdeploy.trust.join_token import JoinToken, show_join_token
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.issue import issue_host
from p2ptracker.enrolment.gate import IssuingGate
from p2ptracker.enrolment.group_commit import GroupCommit
from p2ptracker.enrolment.growing import FleetGrowth
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.renewing import require_renewable
from p2ptracker.enrolment.standing import Standing
from p2ptracker.enrolment.status import enrolment_status
from p2ptracker.storage.enrolment import (
    Alarm,
    Enrolment,
    StoredToken,
    TokenUse,
    add_alarm,
    enrol_anew,
    newest_alarms,
    open_tokens,
    put_tokens,
    use_token,
)
from p2ptracker.storage.interfaces import Database

__all__ = ["EnrolmentDesk"]

_REFUSED: dict[TokenUse, str] = {
    "unknown": "no such token",
    "other-host": "the token is for {}",
    "used-before": "the token was used already",
    "expired": "the token has expired",
}
_ALARMING: frozenset[TokenUse] = frozenset({"used-before", "other-host"})
_ISSUERS_MAX = 2  # each is 2 ms of a core; more threads than cores only take turns

log = structlog.get_logger(__name__)


class EnrolmentDesk:
    """Enrols and renews hosts.

    Args:
        trust: What certificates are signed with.
        inventory: Says what stands in them; is told of new numbers.
        growth: Takes new hosts into it.
        standing: Who is believed; is told of changes.
        database: Where tokens and numbers are kept.
        verifier: Judges credentials.
        gate: How many may ask at once.
        registry: Gets the figures.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        trust: TrustFolder,
        inventory: Inventory,
        growth: FleetGrowth,
        standing: Standing,
        database: Database,
        verifier: Verifier,
        gate: IssuingGate,
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._trust, self._inventory, self._growth = trust, inventory, growth
        self._standing = standing
        self._database, self._verifier = database, verifier
        self._gate, self._clock = gate, clock
        self._enrolments = GroupCommit(database, self._enrol)
        self._issuers = trio.CapacityLimiter(_ISSUERS_MAX)
        self._issued = Counter(
            "p2p_enrolment_issued", "Identities issued", ["how"], registry=registry
        )
        self._refused = Counter(
            "p2p_enrolment_refused", "Requests refused", ["code"], registry=registry
        )
        self._alarms = Counter(
            "p2p_enrolment_alarms",
            "Tokens tried a second time or for another host",
            registry=registry,
        )

    def __repr__(self) -> str:
        return f"<EnrolmentDesk of {self._trust.fleet}>"

    @property
    def authority_pem(self) -> bytes:
        """The fleet CA's certificate, for callers that know its fingerprint."""
        return self._trust.fleet_ca.pem

    async def issue_tokens(self, request: TokenRequest, *, api: str) -> list[TokenView]:
        """One token for each host; an older one that was not used is void.

        Args:
            request: For whom, and how long.
            api: The URL that goes into the tokens.

        Raises:
            NotFoundError: the inventory lacks one that was only named.
            RefusedError, ConfigError: a new one is described wrongly.  No token was made.
        """
        await self.add_hosts(request.new)
        names = (*request.hosts, *(host.name for host in request.new))
        hosts = [self._inventory.get(name) for name in dict.fromkeys(names)]
        now = self._clock()
        pinned = bytes.fromhex(fingerprint(self._trust.fleet_ca.pem))
        tokens = [
            JoinToken(
                host=host.name,
                api=api,
                fingerprint=pinned,
                secret=secrets.token_bytes(JOIN_SECRET_BYTES),
            )
            for host in hosts
        ]
        expires_at = now + request.ttl_s
        stored = [_stored(token, now, expires_at) for token in tokens]
        if stored:
            await self._database.write(partial(put_tokens, tokens=stored, now=now))
        until = datetime.fromtimestamp(round(expires_at), UTC)
        return [
            TokenView(host=token.host, token=show_join_token(token), expires_at=until)
            for token in tokens
        ]

    async def add_hosts(self, described: Sequence[Host]) -> list[Host]:
        """Take new hosts into the inventory; see :meth:`FleetGrowth.add`."""
        return await self._growth.add(described)

    async def status(self) -> EnrolmentStatus:
        """How every host stands, and the alarms."""
        now = self._clock()
        tokens, alarms = await self._database.read(
            lambda connection: (open_tokens(connection, now=now), newest_alarms(connection))
        )
        return enrolment_status(self._inventory, self._standing.enrolments, tokens, alarms)

    async def enrol(self, request: EnrolRequest) -> IssuedIdentity:
        """Let the host of a token in.

        Raises:
            TrustError: the token is unknown, used, expired or another host's, or a signing
                request is malformed; only a token that let somebody in is used up.
            BusyError: too many at once.
        """
        with self._gate.admitted():
            outcome = await self._enrolments.do(request)
        if isinstance(outcome, P2PDeployError):
            raise outcome
        if isinstance(outcome, Alarm):
            raise self._refusal(outcome, request.host)
        enrolment, issued = outcome
        self._standing.put(enrolment)
        self._inventory.set_enrolment(enrolment.host, enrolment.enrolment)
        self._issued.labels(how="token").inc()
        log.info("host-enrolled", host=enrolment.host, enrolment=enrolment.enrolment)
        return issued

    def _enrol(
        self, connection: sa.Connection, request: EnrolRequest
    ) -> tuple[Enrolment, IssuedIdentity] | Alarm:
        now = self._clock()
        use, of = use_token(connection, _digest(request.secret), request.host, now=now)
        if use != "used":
            alarm = Alarm(
                at=now, host=of, code=f"token-{use}", message=_REFUSED[use].format(repr(of))
            )
            if use in _ALARMING:
                add_alarm(connection, alarm)
            return alarm
        host = self._inventory.get(request.host)
        enrolment = enrol_anew(connection, host.name, enrolment_before=host.enrolment, now=now)
        return enrolment, self._issue(
            msgspec.structs.replace(host, enrolment=enrolment.enrolment), request, now
        )

    def _issue(self, host: Host, request: EnrolRequest, now: float) -> IssuedIdentity:
        return issue_host(self._trust, host, request.public_key, request.requests, now=_moment(now))

    def _refusal(self, alarm: Alarm, asked_for: HostName) -> TrustError:
        self._refused.labels(code=alarm.code).inc()
        if alarm.code in {f"token-{use}" for use in _ALARMING}:
            self._alarms.inc()
            log.warning("enrolment-alarm", host=alarm.host, asked_for=asked_for, code=alarm.code)
        return TrustError(
            alarm.message,
            where=asked_for,
            hint=f"a new one: p2pctl enroll token --host {asked_for}",
            code=alarm.code,
        )

    async def renew(self, request: RenewRequest) -> IssuedIdentity:
        """Fresh certificates for a host that proves itself by its attestation key.

        Raises:
            TrustError: see :func:`require_renewable`.
            BusyError: too many at once.
        """
        with self._gate.admitted():
            try:
                issued = await trio.to_thread.run_sync(
                    self._renew, request, self._clock(), limiter=self._issuers
                )
            except TrustError as error:
                self._refused.labels(code=error.code).inc()
                raise
        self._issued.labels(how="renewal").inc()
        return issued

    def _renew(self, request: RenewRequest, now: float) -> IssuedIdentity:
        credential = require_renewable(
            request, self._verifier, self._standing, self._trust.fleet, now=now
        )
        host = msgspec.structs.replace(
            self._inventory.get(credential.host), enrolment=credential.enrolment
        )
        return issue_host(
            self._trust, host, credential.public_key, request.requests, now=_moment(now)
        )


def _stored(token: JoinToken, now: float, expires_at: float) -> StoredToken:
    return StoredToken(
        digest=_digest(token.secret), host=token.host, issued_at=now, expires_at=expires_at
    )


def _digest(secret: bytes) -> bytes:
    # Not slow and not salted: 256 random bits can't be tried out.
    return blake3(secret).digest()


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
