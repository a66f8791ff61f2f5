"""Start a process that outlives us, and stop it; a pid alone is never trusted.

Who a process is, :mod:`p2pdeploy.process_identity` says.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from p2pdeploy.process_identity import ProcessIdentity, boot_id, identify, open_pidfd, reap

__all__ = ["spawn", "stop_all"]


def spawn(argv: Sequence[str], log_path: Path) -> ProcessIdentity:
    """Start *argv* in a session of its own, with both outputs appended to *log_path*.

    The child opens its log itself; nothing of ours is inherited, so that our end is not felt.

    Raises:
        OSError: the program cannot be executed.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM],
    )
    if found := identify(pid):
        return found
    with suppress(ChildProcessError):  # it ended already: nobody but us would ever reap it
        os.waitpid(pid, os.WNOHANG)
    return ProcessIdentity(pid=pid, start_time_ticks=-1, boot_id=boot_id())


def stop_all(identities: Sequence[ProcessIdentity], grace_s: float) -> None:
    """Ask every process to end, and kill those that still run after *grace_s*.

    Returns when all have ended; that they were gone before is fine.
    """
    handles = [handle for identity in identities if (handle := open_pidfd(identity)) is not None]
    try:
        _signal(handles, signal.SIGTERM)
        late = _wait_ends(handles, grace_s)
        _signal(late, signal.SIGKILL)
        _wait_ends(late, grace_s)
    finally:
        for handle in handles:
            os.close(handle)
    for identity in identities:
        reap(identity)


def _signal(handles: Sequence[int], number: signal.Signals) -> None:
    for handle in handles:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _wait_ends(handles: Sequence[int], timeout_s: float) -> list[int]:
    """Wait for the ends; return the handles of those that did not end in time."""
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    waiting = set(handles)
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        for handle, _ in poller.poll(left_s * 1000):
            poller.unregister(handle)
            waiting.discard(handle)
    return sorted(waiting)
