"""The one place where an unexpected failure of a service's task stops and the daemon goes on.

A fault in one service's work must not end the daemon, which runs the others.  Every call of
:func:`isolated` is such a boundary.  Elsewhere a broad ``except`` swallows nothing: ``race.py`` and
``services/start_child.py`` hand the exception on, ``__main__.py`` ends the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from p2pdaemon.log import get_logger
from p2pdeploy.errors import P2PDeployError

__all__ = ["isolated"]

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
