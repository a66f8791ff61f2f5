"""Which process a pid means: pid, start time and boot, so that a reused pid fools nobody.

The kernel hands pids out again; it never gives two processes of one boot the same pid and the same
start time (it would have to go round the whole pid space within one clock tick).  A zombie counts
as dead: it runs nothing and holds nothing, it only waits to be reaped.

Source: proc_pid_stat(5), pidfd_open(2).
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

__all__ = [
    "ProcessIdentity",
    "boot_id",
    "identify",
    "is_alive",
    "members_of_session",
    "open_pidfd",
    "reap",
    "send",
    "wait_end",
]


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One process of one boot, for ever."""

    pid: int
    start_time_ticks: int
    boot_id: str


class _Stat(msgspec.Struct, frozen=True, kw_only=True):
    session: int
    start_time_ticks: int
    dead: bool


@cache
def boot_id() -> str:
    """Return the kernel's name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(b")")[2].split()  # the name before may hold spaces and brackets
    # A leader that ended before its threads looks like a zombie while they still run.
    dead = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return _Stat(session=int(fields[3]), start_time_ticks=int(fields[19]), dead=dead)


def identify(pid: int) -> ProcessIdentity | None:
    """Return who *pid* is right now; None when nobody or a zombie."""
    stat = _read_stat(pid)
    if stat is None or stat.dead:
        return None
    return ProcessIdentity(pid=pid, start_time_ticks=stat.start_time_ticks, boot_id=boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Return whether this very process still runs."""
    return identity.boot_id == boot_id() and identify(identity.pid) == identity


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # nobody, or a thread has the number now
            return None
        raise


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """Return a pidfd of this very process, close-on-exec, which the caller closes; None if dead.

    It becomes readable when the process ends, whoever its parent is.
    """
    pidfd = _open(identity.pid)
    if pidfd is None:
        return None
    # Compared after opening: the descriptor cannot change its process any more.
    if is_alive(identity):
        return pidfd
    os.close(pidfd)
    return None


def send(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal this very process; return False when it is gone.

    Raises:
        PermissionError: it runs as another user now.
    """
    pidfd = open_pidfd(identity)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    else:
        return True
    finally:
        os.close(pidfd)


def wait_end(pidfd: int, timeout_s: float) -> bool:
    """Block until the process of *pidfd* has ended; return False when it takes longer."""
    poll = select.poll()  # select() refuses descriptors above 1,023, and a busy daemon has those
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1_000))


def reap(identity: ProcessIdentity) -> None:
    """Reap this very process if it is a dead child of ours; else nothing."""
    pidfd = _open(identity.pid)
    if pidfd is None:
        return
    try:
        stat = _read_stat(identity.pid)
        if stat is not None and stat.start_time_ticks == identity.start_time_ticks:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # somebody else's child
    finally:
        os.close(pidfd)


def members_of_session(leader: ProcessIdentity) -> Iterator[ProcessIdentity]:
    """Yield the living processes of the session that *leader* opened, itself excluded.

    Nothing is yielded once another process has the leader's pid: the kernel does not reuse the
    number of a session that still has members, so this one has none.
    """
    if leader.boot_id != boot_id():
        return
    now = _read_stat(leader.pid)
    if now is not None and now.start_time_ticks != leader.start_time_ticks:
        return
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == leader.pid:
            continue
        stat = _read_stat(int(entry))
        if stat is None or stat.dead or stat.session != leader.pid:
            continue
        if stat.start_time_ticks >= leader.start_time_ticks:
            yield ProcessIdentity(
                pid=int(entry), start_time_ticks=stat.start_time_ticks, boot_id=boot_id()
            )
