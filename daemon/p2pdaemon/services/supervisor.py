"""The program that runs one service once: starts it, stops it, journals how it ended.

Started as ``python -I -S -X utf8 supervisor.py SPEC_FILE [handed-over]``, one process per run of a
service, so that a service and the knowledge of its end outlive the daemon.  Standard library only
and few modules, because every running service pays for this process.
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

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from typing import Any

READY_FD = 3
LOCK_FD = 4
EXIT_JOURNAL = 74
EXIT_LOCKED = 75
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38  # linux/prctl.h
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPING = (signal.SIGTERM, signal.SIGINT)
SERVICE_UMASK = 0o022  # the usual one, whatever the daemon's is
KILL_AGAIN_S = 0.2  # between two sweeps over descendants that are still dying
ERROR_BYTES_MAX = 2_000  # a message of the child below PIPE_BUF, so it arrives whole

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process, or raise OSError."""
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")


def utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def start_time_ticks(pid: int) -> int:
    """Clock ticks from boot to the start of *pid*: field 22 of proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def write_json(path: str, document: dict[str, Any]) -> None:
    """Replace *path*: after a crash it holds the old or the new document, never half of one."""
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(json.dumps(document).encode())
        file.flush()
        os.fsync(descriptor)
    os.rename(f"{path}.new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


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


def become_service(spec: dict[str, Any], supervisor_pid: int, go_fd: int, error_fd: int) -> None:
    """In the child: execute the service, or say on *error_fd* why not.  Never returns."""
    doing = "cannot prepare the process"
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor_pid or os.read(go_fd, 1) != b"g":
            os._exit(0)  # the supervisor died before the run was on record
        os.umask(SERVICE_UMASK)
        for descriptor, key in ((1, "stdout_path"), (2, "stderr_path")):
            doing = f"cannot open the log {spec[key]}"
            open_log(spec[key], spec["user"], descriptor)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.closerange(3, error_fd)
        os.closerange(error_fd + 1, os.sysconf("SC_OPEN_MAX"))
        if spec["user"] is not None:
            doing = f"cannot become user {spec['user']['uid']}"
            become_user(spec, supervisor_pid)
        if spec["no_new_privs"]:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
        doing = f"cannot enter {spec['cwd']}"
        os.chdir(spec["cwd"])
        doing = f"cannot execute {spec['argv'][0]}"
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) else repr(error)
        executing = doing.startswith("cannot execute")
        if executing and isinstance(error, FileNotFoundError) and os.path.exists(spec["argv"][0]):
            reason = "the interpreter that its first line names does not exist"
        os.write(error_fd, f"{doing}: {reason}".encode()[:ERROR_BYTES_MAX])
    finally:
        os._exit(127)


def open_log(path: str, user: dict[str, Any] | None, descriptor: int) -> None:
    """Append *descriptor* to the log at *path*, which the service may open again as its own."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    if user is not None:
        os.fchown(log, user["uid"], user["gid"])
    os.dup2(log, descriptor)


def become_user(spec: dict[str, Any], supervisor_pid: int) -> None:
    """Give up root for the service's user, in this process and for good."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(package)  # -I -S leave it out; this process executes another program at once
    from p2pdaemon.services.take_user import take_user

    take_user(spec["user"], spec["cwd"], spec["state_dir"])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the kernel forgot it with the change of user
    if os.getppid() != supervisor_pid:
        os._exit(0)  # the supervisor died in between


def start_service(spec: dict[str, Any], run_dir: str) -> tuple[int, str]:
    """Fork the service, put the run on record, let it execute.

    Returns:
        The child's pid, and why it could not be executed (empty when it was).
    """
    go_read, go_write = os.pipe()
    error_read, error_write = os.pipe()
    supervisor_pid = os.getpid()
    child_pid = os.fork()
    if child_pid == 0:
        os.close(go_write)  # else we would hold our own barrier open
        become_service(spec, supervisor_pid, go_read, error_write)
    os.close(go_read)
    os.close(error_write)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    record = {
        "supervisor_pid": supervisor_pid,
        "supervisor_start_time_ticks": start_time_ticks(supervisor_pid),
        "child_pid": child_pid,
        "child_start_time_ticks": start_time_ticks(child_pid),
        "boot_id": boot_id,
        "digest": spec["digest"],
        "version": spec["version"],
        "started_at": utc_now(),
    }
    write_json(os.path.join(run_dir, "run.json"), record)
    os.write(go_write, b"g")
    os.close(go_write)
    failure = os.read(error_read, ERROR_BYTES_MAX).decode(errors="replace")
    os.close(error_read)
    return child_pid, failure


def reap_until(main_pid: int) -> bool:
    """Reap every dead child but *main_pid*; return whether that one is dead (and not reaped yet).

    An unreaped main process keeps its pid, so its process group can be killed without a doubt.
    """
    while True:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if dead is None:
            return False
        if dead.si_pid == main_pid:
            return True
        os.waitpid(dead.si_pid, 0)


def signal_service(main_pid: int, number: int) -> None:
    """Signal the process group of the main process, and itself if it changed its group."""
    for send in (os.killpg, os.kill):
        try:
            send(main_pid, number)
            if os.getpgid(main_pid) == main_pid:
                return
        except (ProcessLookupError, PermissionError):
            pass  # an empty group, or it runs as another user: the sweep at the end reports that


def wait_main(main_pid: int, stop_signal: int, stop_timeout_s: float) -> bool:
    """Wait until the main process is dead; return whether that was asked for."""
    kill_at: float | None = None
    while not reap_until(main_pid):
        left_s = 3_600.0 if kill_at is None else kill_at - time.monotonic()
        if left_s <= 0:
            signal_service(main_pid, signal.SIGKILL)
            left_s = KILL_AGAIN_S
        caught = signal.sigtimedwait(WATCHED, left_s)
        if caught is None or caught.si_signo not in STOPPING:
            continue
        if kill_at is None:
            signal_service(main_pid, stop_signal)
            signal_service(main_pid, signal.SIGCONT)  # a stopped process could not obey
            kill_at = time.monotonic() + stop_timeout_s
        else:
            kill_at = time.monotonic()  # asked twice: now
    return kill_at is not None


def children() -> list[int]:
    """Return the pids of our own children, dead ones included."""
    me, found = os.getpid(), list[int]()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it ended while we looked
        if parent == me:
            found.append(int(name))
    return found


def kill_the_rest(main_pid: int) -> int:
    """Kill what the main process left behind and reap all; return the main wait status.

    Each killed process hands its children to us, so the sweep ends with no descendant alive.  It
    goes on for as long as one of them cannot die: the lock must stay held until then.
    """
    signal_service(main_pid, signal.SIGKILL)
    status = os.waitpid(main_pid, 0)[1]
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return status
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)  # our unreaped child: the pid is nobody else's
            except OSError as error:
                sys.stderr.write(f"cannot kill {pid}: {error}\n")
        signal.sigtimedwait((signal.SIGCHLD,), KILL_AGAIN_S)


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
