"""The one writer of the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import trio
from prometheus_client import CollectorRegistry, Counter

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.messages.audit import AuditEntry
from p2ptracker.audit.refusals import RefusalBudget, Route, UnusedBegun
from p2ptracker.storage.audit import append_audit, audit_entries
from p2ptracker.storage.group_commit import GroupCommit
from p2ptracker.storage.interfaces import Database

__all__ = ["AuditLog"]


class AuditLog:
    """Appends entries, durable on return, in the order of their numbers.

    Those that come at once are written at once: a fleet that joins waits for few disk writes.

    Args:
        database: Where they are kept.
        registry: Where the log's figures are registered.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, database: Database, registry: CollectorRegistry, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._appends = GroupCommit(database, append_audit)
        self._clock = clock
        self._budget = RefusalBudget()
        self._unused = UnusedBegun()
        self._entries = Counter(
            "p2p_audit_entries", "Entries of the audit log", ["step"], registry=registry
        )
        self._only_counted = Counter(
            "p2p_audit_refusals_only_counted",
            "Refused calls that left no entry, because their caller had left many",
            registry=registry,
        )

    def __repr__(self) -> str:
        return "<AuditLog>"

    def now(self) -> datetime:
        """The time for an entry."""
        return datetime.fromtimestamp(self._clock(), UTC)

    async def append(self, entry: AuditEntry) -> AuditEntry:
        """Store *entry* as the next one; its ``seq``, ``previous`` and ``digest`` are set here.

        Raises:
            UnavailableError: the database cannot be written; nothing was stored.
        """
        stored = await self._appends.do(entry)
        if isinstance(stored, P2PDeployError):
            raise stored
        self._entries.labels(step=entry.step).inc()
        return stored

    async def append_refusal(self, entry: AuditEntry) -> None:
        """Store *entry*, unless its caller was refused too often lately: then it's only counted.

        Raises:
            UnavailableError: as :meth:`append`.
        """
        if self._budget.take(entry.who, trio.current_time()):
            await self.append(entry)
        else:
            self._only_counted.inc()

    def is_spent(self, who: str) -> bool:
        """Whether *who* was refused so often lately that refusals are only counted."""
        return self._budget.is_spent(who, trio.current_time())

    async def begin_again(self, entry: AuditEntry, route: Route) -> int:
        """The number of an entry ``begun`` for a call to *route*: an unused one, or *entry*.

        Raises:
            UnavailableError: as :meth:`append`.
        """
        return self._unused.take(route) or (await self.append(entry)).seq

    def count_refusal(self, who: str) -> None:
        """A call of *who* that is on record was refused."""
        self._budget.take(who, trio.current_time())

    def give_back(self, route: Route, seq: int) -> None:
        """The call to *route* under entry *seq* was refused; it is only counted."""
        self._unused.put(route, seq)
        self._only_counted.inc()

    async def entries(self, *, after: int, limit: int) -> Sequence[AuditEntry]:
        """Entries with a number above *after*, in order."""
        return await self._database.read(
            lambda connection: audit_entries(connection, after=after, limit=limit)
        )
