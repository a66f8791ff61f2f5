"""Start the supervisor of one run, hear its one word of news, and end it when that is bad."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import trio

from p2pdaemon.services import supervisor
from p2pdeploy.process_identity import wait_end

__all__ = [
    "KILL_GRACE_S",
    "START_TIMEOUT_S",
    "end_supervisor",
    "error_in",
    "read_news",
    "spawn_supervisor",
]

START_TIMEOUT_S = 20.0  # an interpreter's start and two fsyncs, on a disk that is busy staging
KILL_GRACE_S = 5.0  # for the supervisor to kill, reap and journal after the stop timeout
NEWS_BYTES_MAX = 4_096
FREE_FD_MIN = 10  # above every number that a supervisor's descriptors are moved to


class _News(msgspec.Struct, frozen=True):
    """What a supervisor says once: why nothing runs; empty when it runs."""

    error: str


def spawn_supervisor(run_dir: Path, lock_fd: int) -> tuple[int, int]:
    """Start the supervisor and give it the lock; return its pid and where its news arrives."""
    program = [sys.executable, "-I", "-S", "-X", "utf8", supervisor.__file__]
    news_read, news_write = os.pipe()
    with ExitStack() as on_failure, ExitStack() as ours:
        on_failure.callback(os.close, news_read)
        ours.callback(os.close, news_write)
        # posix_spawn moves them to 3 and 4; from above both, no move overwrites the other.
        news_high = fcntl.fcntl(news_write, fcntl.F_DUPFD_CLOEXEC, FREE_FD_MIN)
        ours.callback(os.close, news_high)
        lock_high = fcntl.fcntl(lock_fd, fcntl.F_DUPFD_CLOEXEC, FREE_FD_MIN)
        ours.callback(os.close, lock_high)
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            sys.executable,
            [*program, str(run_dir / "spec.json"), "handed-over"],
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(run_dir / "supervisor.log"), log_flags, 0o600),
                (os.POSIX_SPAWN_DUP2, news_high, supervisor.READY_FD),
                (os.POSIX_SPAWN_DUP2, lock_high, supervisor.LOCK_FD),
            ],
        )
        on_failure.pop_all()
    return pid, news_read


def end_supervisor(pid: int) -> None:
    """Kill and reap our child *pid*, so that nothing comes up after we said that nothing did."""
    pidfd = os.pidfd_open(pid)  # nobody else has reaped it, so it is still this one
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_end(pidfd, KILL_GRACE_S)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    finally:
        os.close(pidfd)


async def read_news(news_fd: int) -> bytes:
    """Return what the supervisor says about its start; empty when it died or takes too long."""
    news = b""
    async with trio.lowlevel.FdStream(news_fd) as stream:
        with trio.move_on_after(START_TIMEOUT_S):
            while len(news) < NEWS_BYTES_MAX and (more := await stream.receive_some(1_024)):
                news += more
    return news


def error_in(news: bytes) -> str:
    """Why the service was not started; empty when it was."""
    return msgspec.json.decode(news, type=_News).error if news else "it says nothing"
