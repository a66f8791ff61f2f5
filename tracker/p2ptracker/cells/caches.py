"""Which releases lie on hosts, asked of their daemons, with the versions that they are.

A daemon knows releases by their digest; which versions have it is the registry's to say.  A host
that does not answer is told with its reason, and keeps nobody else's answer back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import trio

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.host_client import HostAddress, ask_cache, ask_prune
from p2pdeploy.ids import Digest, HostName, Version
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.cache import (
    CACHE_HOSTS_MAX,
    Cache,
    CachedRelease,
    CachedReleaseView,
    CacheTarget,
    CacheView,
)
from p2pdeploy.topology import Host
from p2ptracker.cells.daemons import Daemons
from p2ptracker.rollouts.targets import hosts_by_cell
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.releases import versions_of

__all__ = ["Caches"]

Answer = tuple[Cache, Sequence[CachedRelease]]
"""What is there, and what was deleted."""


class Caches:
    """Asks many hosts at once, ``CACHE_HOSTS_MAX`` of them in a call.

    Args:
        inventory: Every host; read anew for each call.
        daemons: Where they answer.
        database: Knows versions.
    """

    def __init__(self, inventory: Sequence[Host], daemons: Daemons, database: Database) -> None:
        self._inventory = inventory
        self._daemons = daemons
        self._database = database

    async def show(self, target: CacheTarget) -> list[CacheView]:
        """The first hosts of *target* behind its ``after``, by name; all hosts if it names none.

        Raises:
            RefusedError: it names hosts that there are not, or half of a target.
        """
        named = target.hosts or target.environment or target.machine_function
        hosts = self._targeted(target) if named else list(self._inventory)
        return await self._ask(hosts, target.after, _show)

    async def prune(self, target: CacheTarget) -> list[CacheView]:
        """Have what is unused deleted on the same hosts; a target must be named.  As above."""
        return await self._ask(self._targeted(target), target.after, _prune)

    def _targeted(self, target: CacheTarget) -> list[Host]:
        cells = hosts_by_cell(target, self._inventory)
        return [host for hosts in cells.values() for host in hosts]

    async def _ask(
        self, hosts: list[Host], after: str, ask: Callable[[HostAddress], Awaitable[Answer]]
    ) -> list[CacheView]:
        names = sorted(host.name for host in hosts if host.name > after)[:CACHE_HOSTS_MAX]
        answers: dict[HostName, Answer | ErrorBody] = {}

        async def ask_one(name: HostName) -> None:
            try:
                answers[name] = await ask(self._daemons.address_of(name))
            except P2PDeployError as error:
                answers[name] = ErrorBody(
                    code=error.code, message=error.message, where=error.where, hint=error.hint
                )

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(ask_one, name)
        versions = await self._versions(answers.values())
        return [_view(name, answers[name], versions) for name in names]

    async def _versions(self, answers: Iterable[Answer | ErrorBody]) -> dict[Digest, list[Version]]:
        digests = sorted(
            {
                release.digest
                for answer in answers
                if not isinstance(answer, ErrorBody)
                for release in (*answer[0].releases, *answer[1])
            }
        )
        return await self._database.read(lambda connection: versions_of(connection, digests))


async def _show(host: HostAddress) -> Answer:
    return await ask_cache(host), ()


async def _prune(host: HostAddress) -> Answer:
    pruned = await ask_prune(host)
    return await ask_cache(host), pruned.releases


def _view(
    name: HostName, answer: Answer | ErrorBody, versions: Mapping[Digest, list[Version]]
) -> CacheView:
    if isinstance(answer, ErrorBody):
        return CacheView(host=name, error=answer)
    cache, pruned = answer
    return CacheView(
        host=name,
        releases=tuple(_release(release, versions) for release in cache.releases),
        pruned=tuple(_release(release, versions) for release in pruned),
        free_bytes=cache.free_bytes,
        reserve_bytes=cache.reserve_bytes,
        held_bytes=cache.held_bytes,
        waiting=cache.waiting,
        needed_bytes=cache.needed_bytes,
    )


def _release(release: CachedRelease, versions: Mapping[Digest, list[Version]]) -> CachedReleaseView:
    return CachedReleaseView(
        digest=release.digest,
        service=release.service,
        versions=versions.get(release.digest, []),
        size_bytes=release.size_bytes,
        state=release.state,
        staged_at=_utc(release.staged_at) if release.staged_at else None,
        used_at=_utc(release.used_at),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
