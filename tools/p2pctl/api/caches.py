"""Caches: which releases lie on hosts, and deleting what nobody needs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.host_client import PRUNE_TIMEOUT_S
from p2pdeploy.messages.cache import CACHE_HOSTS_MAX, CacheTarget, CacheView

__all__ = ["CacheCalls"]

_PRUNE_TIMEOUT_S = PRUNE_TIMEOUT_S + 15.0  # the slowest host, and asking it once more


class CacheCalls(Calls):
    """What the API tells of releases on hosts' disks."""

    def caches(self, target: CacheTarget) -> list[CacheView]:
        """Every host of *target*, page by page; all hosts when it names none."""

        def page(target: CacheTarget) -> list[CacheView]:
            return self._wire.get(
                api_path("cache"),
                list[CacheView],
                host=list(target.hosts) or None,
                environment=target.environment or None,
                machine_function=target.machine_function or None,
                after=target.after or None,
            )

        return _all_pages(page, target)

    def prune_caches(self, target: CacheTarget) -> list[CacheView]:
        """Have what is unused deleted on every host of *target*, page by page."""

        def page(target: CacheTarget) -> list[CacheView]:
            return self._wire.post(
                api_path("cache", "prune"),
                list[CacheView],
                document=target,
                timeout_s=_PRUNE_TIMEOUT_S,
            )

        return _all_pages(page, target)


def _all_pages(
    read_page: Callable[[CacheTarget], list[CacheView]], target: CacheTarget
) -> list[CacheView]:
    found: list[CacheView] = []
    while True:
        page = read_page(target)
        found += page
        if len(page) < CACHE_HOSTS_MAX:
            return found
        target = msgspec.structs.replace(target, after=page[-1].host)
