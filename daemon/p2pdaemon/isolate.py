"""The one place where a failure of one part stops, and the daemon goes on.

A fault in one service's work must not end the daemon, which runs the others: every call of
:func:`isolated` is such a boundary.  Nor may a disk, a network or a peer that fails end one of the
daemon's own tasks: :func:`keep_going` begins it anew.  Elsewhere a broad ``except`` swallows
nothing: ``race.py`` and ``services/start_child.py`` hand the exception on, ``__main__.py`` ends the
process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from p2pdaemon.log import get_logger
from p2pdeploy.errors import P2PDeployError

__all__ = ["isolated", "keep_going"]

PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0  # a disk that has room again is noticed within this

# What happens to a healthy program.  Anything else is a mistake in this one: its state is not to
# be trusted any more, and the next daemon begins with a new one.
_EXPECTED = (P2PDeployError, OSError, trio.BrokenResourceError)

_log = get_logger("isolate")


async def isolated(what: str, work: Callable[[], Awaitable[object]]) -> Exception | None:
    """Run *work*; return the exception that ended it, or None.  Cancellation passes through.

    Args:
        what: The task, for the log (``change hello``).
        work: Called once.  An expected error is logged in one line, any other with its traceback.
    """
    try:
        await work()
    except P2PDeployError as error:
        _log.warning("task failed", task=what, code=error.code, error=str(error))
        return error
    except Exception as error:
        _log.exception("task crashed", task=what)
        return error
    return None


async def keep_going(what: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run *task*, which never ends by itself, and begin it anew whenever an expected error does.

    Each time it is logged, and waited for longer; a mistake in the program passes through.

    Args:
        what: The task, for the log.
        task: Called again after each failure.  Returning ends it.
    """
    pause_s = PAUSE_FIRST_S
    while True:
        began = trio.current_time()
        try:
            await task()
            return
        except Exception as error:
            if not _is_expected(error):
                raise
            if trio.current_time() - began > PAUSE_MAX_S:  # it did its work meanwhile
                pause_s = PAUSE_FIRST_S
            _log.warning("task begins anew", task=what, error=str(error), again_s=pause_s)
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _is_expected(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):  # as nurseries have it
        return error.split(_EXPECTED)[1] is None
    return isinstance(error, _EXPECTED)
