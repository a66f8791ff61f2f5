"""Start a process that outlives us, find it again, stop it; a pid alone is never trusted.

A process is pid + start time + boot id: a pid is given out again, the three together never are.
A zombie is dead once its last thread has ended.  Signals go through a pidfd that was opened before
the identity was checked, so that they reach this process or none.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["Identity", "boot_id", "identify", "is_alive", "reap", "spawn", "stop_all"]

_START_TIME_FIELD = 22  # proc(5), /proc/PID/stat, counted from 1
_STATE_FIELD = 3


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One process, unmistakably.  ``start_ticks``: clock ticks after boot, as proc(5) has it."""

    pid: int
    start_ticks: int
    boot_id: str


def boot_id() -> str:
    """This boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The process that has *pid* now; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold anything; what follows the last parenthesis is field 3.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X") and not _has_other_threads(pid):
        return None
    ticks = int(fields[_START_TIME_FIELD - _STATE_FIELD])
    return Identity(pid=pid, start_ticks=ticks, boot_id=boot_id())


def _has_other_threads(pid: int) -> bool:
    """A killed process shows as a zombie as soon as its main thread ended; until its last thread
    has, its sockets and locks are still held.
    """
    try:
        return any(name != str(pid) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return False


def is_alive(identity: Identity) -> bool:
    """True when this very process runs."""
    return identify(identity.pid) == identity


def spawn(argv: Sequence[str], log_path: Path) -> Identity:
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
    # A child that ended already is a zombie until we reap it, so its stat can still be read.
    return identify(pid) or Identity(pid=pid, start_ticks=-1, boot_id=boot_id())


def reap(identity: Identity) -> None:
    """Take the exit code of a child of ours that ended; nothing happens for anybody else."""
    with suppress(ChildProcessError):
        os.waitpid(identity.pid, os.WNOHANG)


def stop_all(identities: Sequence[Identity], grace_s: float) -> None:
    """Ask every process to end, and kill those that still run after *grace_s*.

    Returns when all have ended; that they were gone before is fine.
    """
    handles = [handle for identity in identities if (handle := _open(identity)) is not None]
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


def _open(identity: Identity) -> int | None:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if not is_alive(identity):
        os.close(handle)
        return None
    return handle


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
