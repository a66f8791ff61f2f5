"""What keeps a host's use of itself in bounds, beside log rotation.

Releases that nobody needs are deleted from the disk, and memory that nobody uses goes back to the
kernel.
"""

from __future__ import annotations

import ctypes
import time
from contextlib import suppress
from functools import partial

import trio

from p2pdaemon.clock import boottime_s
from p2pdaemon.collector import Collector
from p2pdaemon.isolate import isolated
from p2pdaemon.log import get_logger
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import Digest

__all__ = ["tidy_up"]

TIDY_EVERY_S = 30.0  # nothing is deleted before it was unasked for twenty times as long
NOTE_USED_S = 3600.0  # an idle host's disk may sleep; releases are older than an hour

_log = get_logger("housekeeping")
_disk = trio.CapacityLimiter(1)


async def tidy_up(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    """Do so for ever; a fault is logged and tried again."""
    while True:
        await isolated("housekeeping", partial(_collect, store, collector, stager))
        await trio.to_thread.run_sync(_give_back_memory, limiter=_disk)
        await trio.sleep(TIDY_EVERY_S)


async def _collect(store: ReleaseStore, collector: Collector, stager: BuildStager) -> None:
    on_disk = await trio.to_thread.run_sync(store.digests, limiter=_disk)
    runs = await trio.to_thread.run_sync(store.current_digests, limiter=_disk)
    in_use = runs | stager.in_use()
    await trio.to_thread.run_sync(_note_used, store, collector, on_disk, limiter=_disk)
    for digest in collector.collectable(on_disk, in_use=in_use, now_s=boottime_s()):
        # Deletions before this one took time: an order may have asked for it meanwhile.
        if await stager.delete(digest, is_kept=partial(collector.keeps, digest)):
            _log.info("release deleted", digest=digest)


def _note_used(store: ReleaseStore, collector: Collector, on_disk: list[Digest]) -> None:
    """Where room is needed, what was asked for longest ago goes first, also after a restart."""
    for digest in filter(collector.keeps, on_disk):
        with suppress(FileNotFoundError):  # deleted meanwhile
            if time.time() - store.used_at(digest) > NOTE_USED_S:
                store.note_used(digest)


def _give_back_memory() -> None:
    """Have the C library return what was freed; takes about a millisecond.

    Threads and peers of a fetch leave holes that glibc keeps for good: 3 to 6 MiB after 1 GiB.
    Other C libraries (musl) return memory by themselves and have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
