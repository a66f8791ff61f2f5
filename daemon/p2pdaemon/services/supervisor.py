"""The program that runs one service once: starts it, stops it, journals how it ended.

Started as ``python -I -S -X utf8 supervisor.py SPEC_FILE [handed-over]``, one process per run of a
service, so that a service and the knowledge of its end outlive the daemon.  Standard library only
and few modules, because every running service pays for this process: beside this one
:mod:`~p2pdaemon.services.start_child`, :mod:`~p2pdaemon.services.end_child`,
:mod:`~p2pdaemon.services.run_journal` and :mod:`~p2pdaemon.services.prctl`.
When the order names a user, this process stays root and its child becomes that user
(:mod:`p2pdaemon.services.take_user`) before it executes the service.

* It holds ``lock_path`` from before the service exists until nothing of it is left.  With
  ``handed-over`` the daemon took the lock first and passes it on as descriptor 4 (and a pipe for
  one line of news as descriptor 3), so there is no instant at which nobody holds it.
* ``run.json`` is on disk before the service executes its first instruction.
* The service dies with its supervisor (PR_SET_PDEATHSIG).  An instance that nobody can reap, stop
  or report would be worse than one that restarts.  Killing the daemon touches neither.
* SIGTERM: the stop signal goes to the service's process group; after ``stop_timeout_s``, or at a
  second SIGTERM, SIGKILL.  Once the main process is gone everything left of it is killed, also
  what moved to a session of its own: orphans come to us, the child subreaper.

Exit codes: 0 the end is journalled, 74 the journal cannot be written, 75 another instance runs.
Source: prctl(2), credentials(7), sysexits.h.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from typing import Any

if __name__ == "__main__":  # -I -S leave our package out; last, so that it hides nothing
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from p2pdaemon.services.end_child import WATCHED, kill_the_rest, wait_main
from p2pdaemon.services.prctl import PR_SET_CHILD_SUBREAPER, prctl
from p2pdaemon.services.run_journal import utc_now, write_json
from p2pdaemon.services.start_child import start_service

READY_FD = 3
LOCK_FD = 4
EXIT_JOURNAL = 74
EXIT_LOCKED = 75


def take_lock(lock_path: str, handed_over: bool) -> None:
    """Hold the service's lock for the rest of this process, or exit with 75."""
    if not handed_over:
        os.dup2(os.open("/dev/null", os.O_WRONLY), READY_FD)
        os.dup2(os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600), LOCK_FD)
    os.set_inheritable(READY_FD, False)
    os.set_inheritable(LOCK_FD, False)
    try:
        fcntl.flock(LOCK_FD, fcntl.LOCK_EX | fcntl.LOCK_NB)  # our own lock again is no conflict
    except BlockingIOError:
        sys.exit(EXIT_LOCKED)


def tell(news: dict[str, Any]) -> None:
    """Give the daemon its one line of news; nobody may be listening any more."""
    try:
        os.write(READY_FD, json.dumps(news).encode())
        os.close(READY_FD)
    except OSError:
        pass


def supervise(spec: dict[str, Any], run_dir: str) -> None:
    """Run the service from start to end and journal both.

    Raises:
        OSError: a journal cannot be written.  The service runs only if the first one was.
    """
    stop_signal = signal.Signals[spec["stop_signal"]]
    began_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        child_pid, failure = start_service(spec, run_dir)
    except OSError as error:
        tell({"error": f"cannot put the run on record: {error}"})
        raise
    tell({"error": ""})
    stopped = wait_main(child_pid, stop_signal, spec["stop_timeout_s"])
    status = kill_the_rest(child_pid)
    end = {
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "message": failure,
        "stopped_on_request": stopped,
        "finished_at": utc_now(),
        "runtime_s": round(time.clock_gettime(time.CLOCK_BOOTTIME) - began_s, 3),
        "digest": spec["digest"],
        "version": spec["version"],
    }
    write_json(os.path.join(run_dir, "exit.json"), end)


def main(arguments: list[str]) -> int:
    """Supervise the run that the file in the first argument describes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # from here on they wait for sigtimedwait
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an inherited "ignore" would eat the exit codes
    os.closerange(LOCK_FD + 1, os.sysconf("SC_OPEN_MAX"))  # not every library opens close-on-exec
    spec_path = os.path.abspath(arguments[0])
    with open(spec_path, encoding="utf-8") as file:
        spec = json.load(file)
    take_lock(spec["lock_path"], handed_over=arguments[1:] == ["handed-over"])
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")  # hold no file system of the daemon's
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        supervise(spec, os.path.dirname(spec_path))
    except OSError as error:
        sys.stderr.write(f"cannot journal this run: {error}\n")
        return EXIT_JOURNAL
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
