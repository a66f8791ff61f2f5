"""The supervisor's child until it is dead, and until nothing is left of what it started.

Standard library only and few modules: part of :mod:`p2pdaemon.services.supervisor`.
"""

from __future__ import annotations

import os
import signal
import sys
import time

__all__ = ["WATCHED", "kill_the_rest", "wait_main"]

WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPING = (signal.SIGTERM, signal.SIGINT)
KILL_AGAIN_S = 0.2  # between two sweeps over descendants that are still dying


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
