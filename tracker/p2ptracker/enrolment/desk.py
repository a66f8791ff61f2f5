"""What the API asks of enrolment.

Enrolling is one transaction (:mod:`p2ptracker.enrolment.admitting`); renewing touches no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import trio
from prometheus_client import CollectorRegistry, Counter

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import EnrolRequest, IssuedIdentity, RenewRequest
from p2pdeploy.messages.enrolment_company import CompanyEnrolRequest, CompanyStatement
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus, TokenRequest, TokenView
from p2pdeploy.topology import Host
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.envelope import Verifier
from p2pdeploy.trust.identity import HostId, spiffe_id
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.issue import issue_host
from p2ptracker.enrolment.admitting import Admission, Admitter
from p2ptracker.enrolment.company import CompanyAuthority
from p2ptracker.enrolment.gate import IssuingGate
from p2ptracker.enrolment.growing import FleetGrowth
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.opening import JoinOpener
from p2ptracker.enrolment.renewing import require_renewable
from p2ptracker.enrolment.standing import Standing
from p2ptracker.enrolment.status import enrolment_status
from p2ptracker.storage.company_joins import waiting_joins
from p2ptracker.storage.enrolment import newest_alarms
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.join_tokens import open_tokens

__all__ = ["EnrolmentDesk"]

_HOW_NEW = "describe it with --env, --mf and --fd, or import it"

_ISSUERS_MAX = 2  # each is 2 ms of a core; more threads than cores only take turns


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
        company: Whose certificates let hosts in besides tokens; None: nobody's.
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
        company: CompanyAuthority | None,
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._trust, self._inventory, self._growth = trust, inventory, growth
        self._pinned = bytes.fromhex(fingerprint(trust.fleet_ca.pem))
        self._standing = standing
        self._database, self._verifier = database, verifier
        self._gate, self._clock = gate, clock
        self._company = company
        self._opener = JoinOpener(self._pinned, database, clock)
        self._admitter = Admitter(trust, inventory, standing, database, registry, clock)
        self._issuers = trio.CapacityLimiter(_ISSUERS_MAX)
        self._issued = Counter(
            "p2p_enrolment_issued", "Identities issued", ["how"], registry=registry
        )
        self._refused = Counter(
            "p2p_enrolment_refused", "Requests refused", ["code"], registry=registry
        )

    def __repr__(self) -> str:
        return f"<EnrolmentDesk of {self._trust.fleet}>"

    @property
    def authority_pem(self) -> bytes:
        """The fleet CA's certificate, for callers that know its fingerprint."""
        return self._trust.fleet_ca.pem

    def identity_of(self, name: HostName) -> str:
        """The SPIFFE id of a host.  Raises NotFoundError."""
        host = self._inventory.get(name)
        return spiffe_id(
            HostId(self._trust.fleet, host.environment, host.machine_function, host.name)
        )

    async def issue_tokens(self, request: TokenRequest, *, api: str) -> list[TokenView]:
        """Open one join for each host; what was opened before and not used is void.

        By a token; or by the company's certificate, and then there is no token to see.

        Args:
            request: For whom, and how long.
            api: The URL that goes into the tokens.

        Raises:
            NotFoundError: the inventory lacks one that was only named.
            RefusedError, ConfigError: a new one is described wrongly, or by certificate, and
                there is no company's CA.  No token was made.
        """
        if request.by_certificate:
            self._company_or_refuse()
        await self.add_hosts(request.new)
        names = (*request.hosts, *(host.name for host in request.new))
        known = [self._inventory.get(name, hint=_HOW_NEW) for name in dict.fromkeys(names)]
        hosts = [host.name for host in known]
        if request.by_certificate:
            return await self._opener.by_certificate(hosts, request.ttl_s)
        return await self._opener.by_token(hosts, request.ttl_s, api=api)

    async def add_hosts(self, described: Sequence[Host]) -> list[Host]:
        """Take new hosts into the inventory; see :meth:`FleetGrowth.add`."""
        return await self._growth.add(described)

    async def status(self) -> EnrolmentStatus:
        """How every host stands, and the alarms."""
        now = self._clock()
        tokens, joins, alarms = await self._database.read(
            lambda connection: (
                open_tokens(connection, now=now),
                waiting_joins(connection, now=now),
                newest_alarms(connection),
            )
        )
        known = self._standing.enrolments
        return enrolment_status(self._inventory, known, tokens, joins, alarms)

    async def enrol(self, request: EnrolRequest) -> IssuedIdentity:
        """Let the host of a token in.

        Raises:
            TrustError: the token is unknown, used, expired or another host's, or a signing
                request is malformed; only a token that let somebody in is used up.
            BusyError: too many at once.
        """
        admission = Admission(
            host=request.host,
            public_key=request.public_key,
            requests=request.requests,
            secret=request.secret,
        )
        with self._admitted():
            issued = await self._admitter.admit(admission)
        self._issued.labels(how="token").inc()
        return issued

    async def enrol_by_company(
        self, request: CompanyEnrolRequest
    ) -> tuple[HostName, IssuedIdentity]:
        """Let a host in that has a certificate of the company's CA.

        Returns:
            Which host that is, and what it gets.

        Raises:
            RefusedError: this fleet has no company's CA.
            TrustError: the proof fails (:meth:`CompanyAuthority.require_host`), nobody opened a
                join for this host, or it was used.
            BusyError: too many at once.
        """
        with self._admitted():
            said = await trio.to_thread.run_sync(
                self._require_company_host, request, self._clock(), limiter=self._issuers
            )
            issued = await self._admitter.admit(
                Admission(
                    host=said.host,
                    public_key=said.public_key,
                    requests=said.requests,
                    secret=None,
                )
            )
        self._issued.labels(how="certificate").inc()
        return said.host, issued

    def _require_company_host(self, request: CompanyEnrolRequest, now: float) -> CompanyStatement:
        return self._company_or_refuse().require_host(request, self._pinned, now=now)

    def _company_or_refuse(self) -> CompanyAuthority:
        if self._company is None:
            raise RefusedError(
                "this fleet lets nobody in by a company's certificate",
                hint="set company_ca and company_domain in tracker.toml, or use a token",
                code="no-company",
            )
        return self._company

    @contextmanager
    def _admitted(self) -> Generator[None]:
        """Be inside the gate; refusals of proofs are counted."""
        with self._gate.admitted():
            try:
                yield
            except TrustError as error:
                self._refused.labels(code=error.code).inc()
                raise

    async def renew(self, request: RenewRequest) -> IssuedIdentity:
        """Fresh certificates for a host that proves itself by its attestation key.

        Raises:
            TrustError: see :func:`require_renewable`.
            BusyError: too many at once.
        """
        with self._admitted():
            issued = await trio.to_thread.run_sync(
                self._renew, request, self._clock(), limiter=self._issuers
            )
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


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
