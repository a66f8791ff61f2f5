"""The supervisor's child: forked, put on record, and only then the service.

Standard library only and few modules: part of :mod:`p2pdaemon.services.supervisor`.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from p2pdaemon.services.prctl import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl
from p2pdaemon.services.run_journal import start_time_ticks, utc_now, write_json

__all__ = ["SERVICE_UMASK", "start_service"]

SERVICE_UMASK = 0o022  # the usual one, whatever the daemon's is
ERROR_BYTES_MAX = 2_000  # a message of the child below PIPE_BUF, so it arrives whole


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
    from p2pdaemon.services.take_user import take_user  # most services pay nothing for it

    take_user(spec["user"], spec["cwd"], spec["state_dir"])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the kernel forgot it with the change of user
    if os.getppid() != supervisor_pid:
        os._exit(0)  # the supervisor died in between
