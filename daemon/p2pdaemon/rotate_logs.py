"""Keep the services' logs in bounds.

A log is looked at every 5 s, and up to four times a second while it grows fast
(:mod:`~p2pdaemon.services.log_pace`).  So one service's logs take at most

* ``KEPT_MAX`` older parts, and one more while it is copied: 20 MiB each at most, 10 as a rule;
* the log itself: 10 MiB and what is written in 5 s (when a quiet log begins to grow fast) or in
  0.25 s and one copy (while it goes on); at 100 MB/s that is once 500 MB, then 35 MB.

No limit of the kernel's would do better: RLIMIT_FSIZE kills the writer.
"""

from __future__ import annotations

from pathlib import Path

import trio

from p2pdaemon.isolate import isolated
from p2pdaemon.log import get_logger
from p2pdaemon.services.log_pace import LOOK_MAX_S, LogPace, Looked
from p2pdaemon.services.logs import rotate
from p2pdaemon.store import ReleaseStore

__all__ = ["rotate_logs"]

_log = get_logger("housekeeping")
_disk = trio.CapacityLimiter(1)


async def rotate_logs(store: ReleaseStore) -> None:
    """Rotate for ever; a fault (a full disk, say) is logged once and tried again."""
    pace = LogPace()
    refused: set[Path] = set()

    async def once() -> None:
        nonlocal pause_s
        logs = await trio.to_thread.run_sync(_rotate_all, store, refused, limiter=_disk)
        pause_s = pace.next_look_s(logs, trio.current_time())

    while True:
        pause_s = LOOK_MAX_S
        await isolated("rotate logs", once)
        await trio.sleep(pause_s)


def _rotate_all(store: ReleaseStore, refused: set[Path]) -> dict[str, Looked]:
    """Rotate every log; one that cannot be keeps the others from nothing, and is not hurried."""
    logs: dict[str, Looked] = {}
    for path in store.log_paths():
        try:
            found_bytes = path.lstat().st_size
            rotated = rotate(path)
        except OSError as error:  # a service of our own user may put a folder or a link there
            if path not in refused:
                refused.add(path)
                _log.warning("log not rotated", path=str(path), error=error.strerror)
        else:
            refused.discard(path)
            logs[str(path)] = Looked(found_bytes, 0 if rotated else found_bytes)
    return logs
