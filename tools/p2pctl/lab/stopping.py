"""Stop a fleet with all its services: a fleet in a folder leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from p2pctl.documents import DownReport
from p2pctl.lab.layout import daemon_config, read_hosts
from p2pctl.lab.locking import ProcessesLock
from p2pctl.lab.processes import stop_all
from p2pctl.lab.programs import (
    CONTROL_PLANE,
    Program,
    find_running,
    forget,
    mark_down,
    programs_of,
)
from p2pctl.polling import poll
from p2pdeploy.errors import UnavailableError
from p2pdeploy.process_identity import ProcessIdentity
from p2pdeploy.topology import Host

__all__ = ["stop_fleet"]

_GRACE_S = 15.0  # a daemon flushes and leaves; libtorrent may need some seconds
_SERVICES_TIMEOUT_S = 90.0  # stop_timeout_s of every service of a host, one after the other
# Covers the `down` of a fleet that stops as it should, and an `up` that is told to give up; one
# whose every service uses its whole time takes longer.
_WORK_TIMEOUT_S = 120.0
_AT_ONCE = 4  # an interpreter each; the machine may have two cores


def stop_fleet(folder: Path, tell: Callable[[str], None]) -> DownReport:
    """Stop daemons, then services, then the control plane; safe to repeat.

    Services outlive their daemon on purpose, so that each host's are stopped by themselves, when
    nothing is left that would start them again.  Waits for an ``up`` that is starting, which is
    told to give up, and for another ``down``.

    Raises:
        ConfigError: there is no fleet in *folder*.
        UnavailableError: somebody else worked on it for too long, and nothing was stopped; or
            something would not stop, and everything else was stopped.
    """
    hosts = read_hosts(folder)
    programs = programs_of(folder, hosts)
    with ProcessesLock(folder) as lock:
        _take(lock, folder, tell)
        mark_down(folder)  # an `up` may have come and gone while we waited
        running = find_running(programs)
        faults = _stop(folder, hosts, running, tell)
        left = _forget_ended(programs)
    _refuse_leftovers(folder, left, faults)
    return DownReport(dir=str(folder), stopped=sorted(running))


def _take(lock: ProcessesLock, folder: Path, tell: Callable[[str], None]) -> None:
    told = False
    for _ in poll(_WORK_TIMEOUT_S):
        mark_down(folder)  # at every look: an `up` at work gives up, whenever it began
        if lock.take():
            return
        if not told:
            tell("waiting for another 'p2pctl up' or 'down' on this fleet")
            told = True
    raise UnavailableError(
        f"another 'p2pctl up' or 'down' worked on this fleet for {_WORK_TIMEOUT_S:g} s",
        where=str(folder),
        hint="run 'p2pctl down' again",
        code="fleet-busy",
    )


def _stop(
    folder: Path,
    hosts: Sequence[Host],
    running: Mapping[str, ProcessIdentity],
    tell: Callable[[str], None],
) -> list[str]:
    """Stop everything in order; return a line per host whose services did not stop."""
    if daemons := [name for name in running if name != CONTROL_PLANE]:
        tell(f"stopping {len(daemons)} daemons")
        stop_all([running[name] for name in daemons], _GRACE_S)
    faults = _stop_services(folder, hosts, tell)
    if CONTROL_PLANE in running:
        tell("stopping the control plane")
        stop_all([running[CONTROL_PLANE]], _GRACE_S)
    return faults


def _forget_ended(programs: Sequence[Program]) -> list[str]:
    """Forget what was found ended; return the names of what still runs."""
    left = find_running(programs)
    for program in programs:
        if program.name not in left:
            forget(program)
    return sorted(left)


def _refuse_leftovers(folder: Path, left: Sequence[str], faults: Sequence[str]) -> None:
    if left:
        what, code = f"processes did not end: {', '.join(left)}", "processes-left"
    elif faults:
        what, code = f"services did not stop: {'; '.join(faults)}", "services-left"
    else:
        return
    raise UnavailableError(what, where=str(folder), hint="run 'p2pctl down' again", code=code)


def _stop_services(folder: Path, hosts: Sequence[Host], tell: Callable[[str], None]) -> list[str]:
    """Stop every host's services; return a line per host where that failed."""
    # A host that never ran a daemon has no state folder, and no service.
    used = [
        host.name for host in hosts if (daemon_config(folder, host.name).parent / "state").is_dir()
    ]
    if not used:
        return []
    tell(f"stopping the services of {len(used)} hosts")
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stop-services") as pool:
        outcomes = pool.map(partial(_stop_host, folder), used)
        return [outcome for outcome in outcomes if outcome]


def _stop_host(folder: Path, name: str) -> str:
    config = str(daemon_config(folder, name))
    command = [sys.executable, "-m", "p2pdaemon", "stop-services", "--config", config]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SERVICES_TIMEOUT_S,
            env=os.environ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{name}: not within {_SERVICES_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{name}: {lines[-1] if lines else f'exit code {done.returncode}'}"
