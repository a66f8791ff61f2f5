"""Start, find again, stop and await one service, through its supervisor.

The disk and the lock are the only state (:mod:`~p2pdaemon.services.rundir`): a runner made by the
next daemon knows what this one knew.  A supervisor that is our own child is reaped by
:meth:`ServiceRunner.wait_exit`, so somebody must wait for every service that was started.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal

import msgspec
import trio

from p2pdaemon.services.records import ExitRecord, RunningService, RunRecord, RunSpec
from p2pdaemon.services.rundir import (
    add_run,
    last_exit,
    newest_run,
    read_record,
    settle,
    try_lock,
)
from p2pdaemon.services.spawn import (
    KILL_GRACE_S,
    START_TIMEOUT_S,
    end_supervisor,
    error_in,
    read_news,
    spawn_supervisor,
)
from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.process_identity import is_alive, open_pidfd, reap, send

__all__ = ["ServiceRunner"]

ADOPT_TIMEOUT_S = START_TIMEOUT_S  # a supervisor started by the daemon before may be as slow
ADOPT_POLL_S = 0.02
LOG_CHARS_MAX = 500  # the last line of a traceback says it

_process_threads = trio.CapacityLimiter(8)  # starts and journal reads of one daemon at a time


class ServiceRunner:
    """Runs at most one instance of one service at a time.

    Args:
        base_dir: Belongs to this service alone; made when missing.  See :mod:`.rundir`.
    """

    def __init__(self, base_dir: Path) -> None:
        self._base_dir = base_dir.absolute()
        self._gate = trio.Lock()

    def __repr__(self) -> str:
        return f"<ServiceRunner {self._base_dir}>"

    async def start(self, spec: RunSpec) -> RunningService:
        """Start the service in a new run; return once its run is on record.

        A program that cannot be executed is a run too: it has ended with code 127, and
        :meth:`wait_exit` gives the reason at once.  If this is cancelled the run may exist
        nevertheless; :meth:`adopt` tells.

        Raises:
            RefusedError: an instance runs already; nothing was started.
            UnavailableError: the run could not be recorded or prepared; nothing was started.
        """
        async with self._gate:
            run_dir, pid, news_fd = await trio.to_thread.run_sync(
                self._launch, spec, limiter=_process_threads
            )
            news = await read_news(news_fd)
            return await trio.to_thread.run_sync(
                self._confirm, run_dir, pid, news, limiter=_process_threads
            )

    def _launch(self, spec: RunSpec) -> tuple[Path, int, int]:
        with try_lock(self._base_dir) as lock_fd:
            if lock_fd is None:
                raise RefusedError(
                    "an instance of this service runs already",
                    where=str(self._base_dir),
                    code="already-running",
                )
            try:
                settle(self._base_dir)
                run_dir = add_run(self._base_dir, spec)
                return run_dir, *spawn_supervisor(run_dir, lock_fd)
            except OSError as error:
                raise UnavailableError(
                    f"the service cannot be started: {error}", where=str(self._base_dir)
                ) from error

    def _confirm(self, run_dir: Path, pid: int, news: bytes) -> RunningService:
        error = error_in(news)
        record = read_record(run_dir / "run.json", RunRecord)
        if record is not None and not error:
            return _running(run_dir, record)
        end_supervisor(pid)
        log = (run_dir / "supervisor.log").read_text(errors="replace").strip()
        raise UnavailableError(
            f"the supervisor did not start the service: {error}",
            where=str(run_dir),
            hint=log[-LOG_CHARS_MAX:],
        )

    async def adopt(self) -> RunningService | None:
        """Find the instance that runs, whoever started it; None when nothing runs.

        None also means that nothing will come up from an earlier start, and that the end of the
        last run is journalled.

        Raises:
            UnavailableError: something holds the lock and does not say what it is.
        """
        with trio.move_on_after(ADOPT_TIMEOUT_S):
            while True:
                found = await trio.to_thread.run_sync(self._look, limiter=_process_threads)
                if found != "changing":
                    return found
                await trio.sleep(ADOPT_POLL_S)  # it comes or goes: milliseconds
        raise UnavailableError(
            "a process holds the lock of this service, but no run is on record",
            where=str(self._base_dir),
            hint="find it with fuser and stop it",
            code="lock-held",
        )

    def _look(self) -> RunningService | Literal["changing"] | None:
        with try_lock(self._base_dir) as lock_fd:
            if lock_fd is not None:
                settle(self._base_dir)
                return None
        run_dir = newest_run(self._base_dir)
        if run_dir is None or (run_dir / "exit.json").exists():
            return "changing"
        record = read_record(run_dir / "run.json", RunRecord)
        if record is None or not is_alive(record.supervisor):
            return "changing"
        return _running(run_dir, record)

    async def wait_exit(self, running: RunningService) -> ExitRecord:
        """Wait until nothing of *running* is left and return how it ended.

        Any number of tasks may wait, also for a run that another daemon started or that ended
        long ago.
        """
        pidfd = open_pidfd(running.record.supervisor)
        if pidfd is not None:
            try:
                await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        return await trio.to_thread.run_sync(self._finish, running, limiter=_process_threads)

    def _finish(self, running: RunningService) -> ExitRecord:
        reap(running.record.supervisor)
        path = running.run_dir / "exit.json"
        record = read_record(path, ExitRecord)
        if record is None:
            with try_lock(self._base_dir) as lock_fd:
                if lock_fd is not None:
                    settle(self._base_dir)
            record = read_record(path, ExitRecord)
        if record is None:
            raise UnavailableError("the end of this run is not on record", where=str(path))
        return record

    async def stop(self, timeout_s: float | None = None) -> ExitRecord | None:
        """Stop whatever runs; return how it ended, or None when nothing ran.

        Args:
            timeout_s: After this long everything is killed, however long the service's own
                ``stop_timeout_s`` is.  None leaves it to the latter.

        Raises:
            UnavailableError: a process of the service does not die; it must count as running.
        """
        async with self._gate:
            running = await self.adopt()
            if running is None:
                return None
            own_s = running.stop_timeout_s + KILL_GRACE_S
            # Asked once: stop signal, patience, kill.  Asked twice: kill.  Gone: PDEATHSIG kills.
            for number, patience_s in (
                (signal.SIGTERM, own_s if timeout_s is None else timeout_s),
                (signal.SIGTERM, KILL_GRACE_S),
                (signal.SIGKILL, KILL_GRACE_S),
            ):
                send(running.record.supervisor, number)
                with trio.move_on_after(patience_s):
                    return await self.wait_exit(running)
            raise UnavailableError("the service does not die", where=str(self._base_dir))

    async def last_exit(self) -> ExitRecord | None:
        """Return how the newest run that has ended did so; None when none has."""
        return await trio.to_thread.run_sync(last_exit, self._base_dir, limiter=_process_threads)


def _running(run_dir: Path, record: RunRecord) -> RunningService:
    spec = msgspec.json.decode((run_dir / "spec.json").read_bytes(), type=RunSpec)
    return RunningService(run_dir=run_dir, record=record, stop_timeout_s=spec.stop_timeout_s)
