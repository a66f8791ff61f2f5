"""What keeps the disk in bounds beside log rotation: releases nobody needs are deleted."""

from __future__ import annotations

from functools import partial

import trio

from p2pdaemon.clock import boottime_s
from p2pdaemon.collector import Collector
from p2pdaemon.isolate import isolated
from p2pdaemon.log import get_logger
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore

__all__ = ["tidy_up"]

TIDY_EVERY_S = 30.0  # nothing is deleted before it was unasked for twenty times as long

_log = get_logger("housekeeping")
_disk = trio.CapacityLimiter(1)


async def tidy_up(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    """Collect for ever; a fault is logged and tried again."""
    while True:
        await isolated("housekeeping", partial(_collect, store, collector, stager))
        await trio.sleep(TIDY_EVERY_S)


async def _collect(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    on_disk = await trio.to_thread.run_sync(store.digests, limiter=_disk)
    runs = await trio.to_thread.run_sync(store.current_digests, limiter=_disk)
    in_use = runs | stager.in_use()
    for digest in collector.collectable(on_disk, in_use=in_use, now_s=boottime_s()):
        # Deletions before this one took time: an order may have asked for it meanwhile.
        if await stager.delete(digest, is_kept=partial(collector.keeps, digest)):
            _log.info("release deleted", digest=digest)
