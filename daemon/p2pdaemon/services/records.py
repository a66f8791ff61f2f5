"""What a run of a service is on disk: its order, the proof that it runs, how it ended."""

from __future__ import annotations

import signal
from datetime import datetime
from pathlib import Path

import msgspec

from p2pdaemon.services.users import ServiceUser
from p2pdeploy.ids import Digest, Version
from p2pdeploy.process_identity import ProcessIdentity

__all__ = ["ExitRecord", "RunRecord", "RunSpec", "RunningService"]


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to run one build of a service.

    Args:
        argv: The program and its arguments.  With a slash it is relative to *cwd*, without one it
            is looked up in the PATH of *env*.
        cwd: The staged tree, an absolute path.
        env: The whole environment; nothing else is inherited.
        stop_signal: A signal's name, such as ``SIGTERM``; goes to the whole process group.
        stop_timeout_s: From the stop signal to SIGKILL.
        stdout_path: Appended to; the folder must exist.  May be the same as *stderr_path*.
        stderr_path: As *stdout_path*.
        digest: Of the build's manifest.
        version: Its name for people.
        user: As whom to run it; None: as the daemon's own user.
        state_dir: The service's own folder, reachable by this path for *user* (with *cwd* the only
            thing of the daemon's that is).  Needed with *user*.
        no_new_privs: Set-id programs gain nothing.  They would also lose the tie to their
            supervisor, and the daemon could not stop them.
    """

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    stop_signal: str = "SIGTERM"
    stop_timeout_s: float = 10.0
    stdout_path: str
    stderr_path: str
    digest: Digest
    version: Version
    user: ServiceUser | None = None
    state_dir: str = ""
    no_new_privs: bool = True


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``: written by the supervisor before the service executes."""

    supervisor_pid: int
    supervisor_start_time_ticks: int
    child_pid: int
    child_start_time_ticks: int
    boot_id: str
    digest: Digest
    version: Version
    started_at: datetime

    @property
    def supervisor(self) -> ProcessIdentity:
        return ProcessIdentity(
            pid=self.supervisor_pid,
            start_time_ticks=self.supervisor_start_time_ticks,
            boot_id=self.boot_id,
        )

    @property
    def child(self) -> ProcessIdentity:
        return ProcessIdentity(
            pid=self.child_pid, start_time_ticks=self.child_start_time_ticks, boot_id=self.boot_id
        )


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``exit.json``: how a run ended.

    Both ``exit_code`` and ``signal`` are None when nobody saw the end: the supervisor was killed
    or the machine went down.  ``message`` then says so; it also says why a program could not be
    executed (with exit code 127).
    """

    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    stopped_on_request: bool = False
    finished_at: datetime
    runtime_s: float
    digest: Digest
    version: Version

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.signal is None:
            return f"exited with code {self.exit_code} after {self.runtime_s:.1f} s"
        try:
            name = signal.Signals(self.signal).name
        except ValueError:  # the real-time signals between SIGRTMIN and SIGRTMAX have no name
            name = f"signal {self.signal}"
        return f"killed by {name} after {self.runtime_s:.1f} s"


class RunningService(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose supervisor lives."""

    run_dir: Path
    record: RunRecord
    stop_timeout_s: float
