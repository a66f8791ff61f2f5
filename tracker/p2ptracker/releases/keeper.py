"""The repository of signed metadata: one value, on disk before anybody sees it.

It is signed anew by itself well before it expires: snapshot and timestamp always, the targets
document where its key is at hand.  For what lies offline there is a metric.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
import structlog
import trio
from prometheus_client import CollectorRegistry, Gauge

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import ServiceName
from p2pdeploy.trust.keyring import OrderKeys
from p2pdeploy.trust.private_files import read_private
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.limits import ROOTS_PER_BUNDLE_MAX, TARGETS_LIFETIME
from p2pdeploy.trust.releases.proposals import Proposal, propose_targets, services_of
from p2pdeploy.trust.releases.reading import (
    expiries,
    live_in,
    order_keys_of,
    version_of_targets,
)
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_targets,
    bundle_for,
    is_refresh_due,
    new_repository,
    refresh,
)
from p2pdeploy.trust.releases.rows import changed_rows, from_rows
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.releases.release_keys import ReleaseKeys
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.signed_releases import save_documents, stored_documents
from p2ptracker.threads import Threads

__all__ = ["LOOK_EVERY_S", "RepositoryKeeper", "same_targets"]

LOOK_EVERY_S = 300.0  # of the twelve hours that a timestamp has left when it is signed anew
_HINT = "'p2ptracker init DIR' makes it"

log = structlog.get_logger(__name__)

Work = Callable[[Repository, dt.datetime], Repository]
"""From the repository before and the time, in UTC, to the one after; blocking."""


class RepositoryKeeper:
    """Holds the fleet's repository.  ``open`` it before anything else.

    Args:
        database: Where it is kept.
        keys: What signs it.
        clock: Seconds since the epoch.
        metrics: Where the time to each expiry is registered.
        hear: Is told who signs orders, when the repository is opened and whenever that changes.
    """

    def __init__(
        self,
        database: Database,
        keys: ReleaseKeys,
        clock: Callable[[], float],
        metrics: CollectorRegistry,
        hear: Callable[[OrderKeys], object],
    ) -> None:
        self._database, self._clock = database, clock
        self._hear, self._fleet = hear, ""
        self._targets_version, self._order_keys = 0, OrderKeys("", {})
        self.keys = keys
        self._repository: Repository | None = None
        self._changing = trio.Lock()
        self._signing = Threads(1)  # one change after the other
        self._live: dict[ServiceName, tuple[bytes, dict[str, ReleaseTarget]]] = {}
        self._expires_at: dict[str, float] = {}
        self._gauge = Gauge(
            "p2p_release_metadata_expires_seconds",
            "Time until a document of release metadata expires and hosts accept nothing new",
            ["role"],
            registry=metrics,
        )

    def __repr__(self) -> str:
        return f"<RepositoryKeeper {self._repository is not None}>"

    @property
    def repository(self) -> Repository:
        """The newest; every document of it is on disk."""
        assert self._repository is not None, "opened before"
        return self._repository

    @property
    def targets_version(self) -> int:
        """Of the document that says who publishes what and whose orders count."""
        return self._targets_version

    @property
    def order_keys(self) -> OrderKeys:
        """Who signs orders."""
        return self._order_keys

    def for_hosts(self) -> tuple[bytes, bytes]:
        """The newest root, and the signed metadata without any service's.

        Any host can use the latter that has not slept through more roots than a bundle holds.
        """
        roots = self.repository.roots
        begin = max(0, len(roots) - ROOTS_PER_BUNDLE_MAX)
        return roots[-1], bundle_for(self.repository, "", root_version=begin)

    def now(self) -> dt.datetime:
        """The time, in UTC."""
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC)

    async def open(self, trust: TrustFolder) -> None:
        """Load the repository, or begin it from the documents that ``init`` made; refresh it.

        Raises:
            ConfigError: rows are missing, the documents are, or a key is not the root's.
            TrustError: a document is damaged.
            UnavailableError: the database can't be written.
        """
        self._fleet = trust.fleet
        rows = await self._database.read(stored_documents)
        if rows:
            self._show(from_rows(rows))
        else:
            begun = await self._signing.run(_begin, trust, self.keys, self.now())
            await self._store(None, begun, _nothing_else)
            log.info("releases-begun")
        for role in self._expires_at:
            self._gauge.labels(role=role).set_function(partial(self._expires_in_s, role))
        await self.refresh_if_due()

    def live(self, service: ServiceName) -> dict[str, ReleaseTarget]:
        """The signed releases of *service*, by version."""
        document = self.repository.services.get(service)
        if document is None:
            return {}
        known = self._live.get(service)
        if known is None or known[0] is not document:
            known = self._live[service] = (document, live_in(document, service))
        return known[1]

    async def change(
        self, work: Work, also: Callable[[sa.Connection], None] | None = None
    ) -> Repository:
        """Make *work*'s repository the newest, in one transaction with *also*.

        Raises:
            Whatever *work* does; nothing changed then.
            UnavailableError: it could not be stored; nothing changed.
        """
        async with self._changing:
            before = self.repository
            await self._signing.run(self.keys.take_named)
            after = await self._signing.run(work, before, self.now())
            await self._store(before, after, also or _nothing_else)
        return after

    async def keep_fresh(self) -> None:
        """Task: sign anew what would expire."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            try:
                await self.refresh_if_due()
            except P2PDeployError as error:  # the metric falls, and somebody is told
                log.error("release-refresh-failed", code=error.code, reason=str(error))

    async def refresh_if_due(self) -> None:
        """Sign anew what has lived half its life; does nothing when nothing has."""
        async with self._changing:
            before, now = self.repository, self.now()
            after = await self._signing.run(_refreshed, before, self.keys, now)
            if after is not before:
                await self._store(before, after, _nothing_else)
                log.info("release-metadata-refreshed")

    async def _store(
        self,
        before: Repository | None,
        after: Repository,
        also: Callable[[sa.Connection], None],
    ) -> None:
        changed = changed_rows(before, after)

        def work(connection: sa.Connection) -> None:
            save_documents(connection, changed)
            also(connection)

        await self._database.write(work)
        self._show(after)

    def _show(self, repository: Repository) -> None:
        before, self._repository = self._repository, repository
        if before is None or before.roots != repository.roots:
            self.keys.follow(repository.root)
        if before is None or before.targets != repository.targets:
            # Once for each document: every host asks for the version once a minute.
            self._targets_version = version_of_targets(repository.targets)
            self._order_keys = OrderKeys(self._fleet, order_keys_of(repository.targets))
            self._hear(self._order_keys)
        self._expires_at = {role: at.timestamp() for role, at in expiries(repository).items()}

    def _expires_in_s(self, role: str) -> float:
        return self._expires_at[role] - self._clock()


def same_targets(repository: Repository, now: dt.datetime) -> Proposal:
    """What the targets document says, for longer."""
    return propose_targets(
        repository.targets,
        order_keys=order_keys_of(repository.targets),
        services=services_of(repository.targets),
        now=now,
    )


def _nothing_else(_connection: sa.Connection) -> None:
    pass


def _begin(trust: TrustFolder, keys: ReleaseKeys, now: dt.datetime) -> Repository:
    targets = read_private(trust.paths.targets, hint=_HINT)
    return new_repository(
        proposal_in(trust.release_root, "root"),
        proposal_in(targets, "targets"),
        keys.online,
        now=now,
    )


def _refreshed(repository: Repository, keys: ReleaseKeys, now: dt.datetime) -> Repository:
    keys.take_named()
    after = repository
    targets_left = expiries(repository)["targets"] - now
    targets_key = keys.read("targets") if targets_left <= TARGETS_LIFETIME / 2 else None
    if targets_key is not None:
        signed = proposal_in(sign_file(same_targets(repository, now), targets_key), "targets")
        after = accept_targets(repository, signed, keys.online, now=now)
    return refresh(after, keys.online, now=now) if is_refresh_due(after, now=now) else after
