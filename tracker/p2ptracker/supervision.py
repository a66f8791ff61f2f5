"""What the control plane does by itself goes on: an outage ends neither a task nor its siblings.

Expected failures (a disk, the database, a file that somebody damaged) are logged, counted and
tried again.  Anything else is a mistake of ours and ends the process, for whoever started it to
start it anew: what was acknowledged is on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from p2pdeploy.errors import P2PDeployError

__all__ = ["EXPECTED", "keep_going"]

EXPECTED = (P2PDeployError, OSError, SQLAlchemyError)
AGAIN_S = 1.0
# A GO lasts 30 s: after an outage the conductor is back before hosts stop for want of one.
AGAIN_MAX_S = 8.0
STEADY_S = 60.0  # a task that ran so long was well: its next failure is a new one

log = structlog.get_logger(__name__)


async def keep_going(name: str, task: Callable[[], Awaitable[None]], failures: Counter) -> None:
    """Run *task* until it ends or is cancelled; again, after a wait, when it fails as expected.

    Args:
        name: What it is called in the log and in *failures*.
        task: Makes a fresh run each time; what it holds between two steps must outlive one.
        failures: Counts by ``task``.
    """
    wait_s = AGAIN_S
    while True:
        begun_at = trio.current_time()
        try:
            return await task()
        except EXPECTED as error:
            if trio.current_time() - begun_at >= STEADY_S:
                wait_s = AGAIN_S
            failures.labels(task=name).inc()
            log.error("task-failed", task=name, again_in_s=wait_s, **_told(error))
        await trio.sleep(wait_s)
        wait_s = min(2 * wait_s, AGAIN_MAX_S)


def _told(error: Exception) -> dict[str, object]:
    """One line for what an operator mends; the place in the program for anything else."""
    if isinstance(error, P2PDeployError):
        return {"code": error.code, "reason": str(error)}
    return {"reason": str(error), "exc_info": error}
