"""What keeps the disk in bounds: logs are rotated, releases nobody needs are deleted."""

from __future__ import annotations

from functools import partial

import structlog
import trio

from p2pdaemon.clock import boottime_s
from p2pdaemon.collector import Collector
from p2pdaemon.isolate import isolated
from p2pdaemon.services.logs import rotate
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore

__all__ = ["tidy_up"]

# A service that writes 1 MB/s outgrows its log's limit threefold between two looks.
TIDY_EVERY_S = 30.0

_log = structlog.get_logger(part="housekeeping")
_disk = trio.CapacityLimiter(1)


async def tidy_up(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    """Rotate and collect for ever; a fault (a full disk, say) is logged and tried again."""

    async def once() -> None:
        await trio.to_thread.run_sync(_rotate_all, store, limiter=_disk)
        await _collect(store, collector, stager)

    while True:
        await isolated("housekeeping", once)
        await trio.sleep(TIDY_EVERY_S)


def _rotate_all(store: ReleaseStore) -> None:
    """Rotate every log; one that cannot be is logged, and keeps neither others nor collection."""
    for path in store.log_paths():
        try:
            rotate(path)
        except OSError as error:  # a service may put a folder or a link where its log was
            _log.warning("log not rotated", path=str(path), error=error.strerror)


async def _collect(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    on_disk = await trio.to_thread.run_sync(store.digests, limiter=_disk)
    runs = await trio.to_thread.run_sync(store.current_digests, limiter=_disk)
    in_use = runs | stager.in_use()
    for digest in collector.collectable(on_disk, in_use=in_use, now_s=boottime_s()):
        # Deletions before this one took time: an order may have asked for it meanwhile.
        if await stager.delete(digest, is_kept=partial(collector.keeps, digest)):
            _log.info("release deleted", digest=digest)
