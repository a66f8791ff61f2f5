"""The folder of one service's runs, and bringing a run to an end that nobody saw.

::

    BASE/lock           held (flock) by the supervisor for as long as anything of the service lives
    BASE/run/7/         the newest number is the current run; mkdir makes the switch atomic
        spec.json       the order (0600: its environment may hold secrets)
        run.json        on disk before the service executes
        exit.json       how it ended
        supervisor.log  empty unless something went wrong

Who holds the lock may add a run; who can take the lock knows that nothing runs.  The daemon hands
the locked descriptor to the supervisor it starts, so this stays true if it is killed in between.
Everything here blocks; call it from a thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from p2pdaemon.services.records import ExitRecord, RunRecord, RunSpec
from p2pdaemon.services.run_journal import write_json
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.process_identity import (
    ProcessIdentity,
    boot_id,
    is_alive,
    members_of_session,
    open_pidfd,
    send,
    wait_end,
)

__all__ = ["add_run", "last_exit", "newest_run", "read_record", "settle", "try_lock"]

RUNS_KEPT_MAX = 5  # enough to see a crash loop begin; a run is a few kilobytes
KILL_TIMEOUT_S = 5.0  # SIGKILL takes milliseconds unless the kernel waits for a device
KILL_POLL_S = 0.01

T = TypeVar("T", bound=msgspec.Struct)


@contextmanager
def try_lock(base_dir: Path) -> Generator[int | None]:
    """Take the service's lock; give its descriptor, or None when a supervisor holds it.

    Leaving releases it, unless the descriptor was inherited by a supervisor meanwhile.
    """
    base_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(base_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _run_numbers(base_dir: Path) -> list[int]:
    """Return the numbers of all runs on disk, newest first."""
    try:
        names = os.listdir(base_dir / "run")
    except FileNotFoundError:
        return []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def newest_run(base_dir: Path) -> Path | None:
    """Return the folder of the newest run, which is the only one that can be alive."""
    numbers = _run_numbers(base_dir)
    return base_dir / "run" / str(numbers[0]) if numbers else None


def read_record(path: Path, kind: type[T]) -> T | None:
    """Return the record at *path*; None when it does not exist.

    Raises:
        UnavailableError: it exists and is no such record: somebody edited it.  Nothing may be
            started until an operator has removed it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except UNDECODABLE as error:
        raise UnavailableError(
            f"not a {kind.__name__}: {error}",
            where=str(path),
            hint="make sure that the service is not running, then remove this file",
            code="run-record",
        ) from error


def last_exit(base_dir: Path) -> ExitRecord | None:
    """Return how the newest run that has ended did so; None when none has."""
    for number in _run_numbers(base_dir):
        record = read_record(base_dir / "run" / str(number) / "exit.json", ExitRecord)
        if record is not None:
            return record
    return None


def add_run(base_dir: Path, spec: RunSpec) -> Path:
    """Make the folder of the next run and drop old ones; the caller holds the lock."""
    numbers = _run_numbers(base_dir)
    run_dir = base_dir / "run" / str(numbers[0] + 1 if numbers else 1)
    run_dir.mkdir(mode=0o700, parents=True)
    order = {**msgspec.to_builtins(spec), "lock_path": str(base_dir / "lock")}
    write_json(str(run_dir / "spec.json"), order)
    for number in numbers[RUNS_KEPT_MAX - 1 :]:
        shutil.rmtree(base_dir / "run" / str(number), ignore_errors=True)  # the next tries again
    return run_dir


def settle(base_dir: Path) -> None:
    """Bring the newest run to an end on disk and in the process table; idempotent.

    The caller holds the lock, so the supervisor is gone.  If it was killed, its service died with
    it; what else it left in its session is killed here, and the journal says what happened.
    (What moved to a session of its own *and* lost its supervisor to SIGKILL is out of reach.)

    Raises:
        UnavailableError: a process does not die; do not start another instance.
    """
    run_dir = newest_run(base_dir)
    if run_dir is None or (run_dir / "exit.json").exists():
        return
    record = read_record(run_dir / "run.json", RunRecord)
    if record is None:
        return  # never started: the service waits for its record before it executes
    if is_alive(record.supervisor):
        raise UnavailableError(
            f"supervisor {record.supervisor_pid} runs but does not hold the lock",
            where=str(base_dir),
            hint="the lock file was replaced; stop that process",
            code="lock-lost",
        )
    _kill_leftovers(record)
    rebooted = record.boot_id != boot_id()
    now = datetime.now(UTC)
    end = ExitRecord(
        message="the machine restarted" if rebooted else "its supervisor was killed",
        finished_at=now,
        runtime_s=max(0.0, (now - record.started_at).total_seconds()),
        digest=record.digest,
        version=record.version,
    )
    write_json(str(run_dir / "exit.json"), msgspec.to_builtins(end))


def _leftovers(record: RunRecord) -> list[ProcessIdentity]:
    found = list(members_of_session(record.supervisor))
    if is_alive(record.child) and record.child not in found:
        found.append(record.child)
    return found


def _kill_leftovers(record: RunRecord) -> None:
    give_up_at = time.monotonic() + KILL_TIMEOUT_S
    while left := _leftovers(record):
        for process in left:
            try:
                send(process, signal.SIGKILL)
            except PermissionError as error:
                raise RefusedError(
                    f"process {process.pid} of the last run belongs to another user",
                    hint="stop it by hand",
                    code="leftover",
                ) from error
        if time.monotonic() > give_up_at:
            raise UnavailableError(f"process {left[0].pid} of the last run does not die")
        _wait_death(left[0])


def _wait_death(process: ProcessIdentity) -> None:
    """Wait a moment for the end of *process*."""
    pidfd = open_pidfd(process)
    if pidfd is None:
        return
    try:
        wait_end(pidfd, KILL_POLL_S)
    finally:
        os.close(pidfd)
