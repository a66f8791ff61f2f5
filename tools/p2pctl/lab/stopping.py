"""Stop a fleet with all its services: a fleet in a folder leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from p2pctl.documents import DownReport
from p2pctl.lab.layout import daemon_config, read_hosts
from p2pctl.lab.processes import stop_all
from p2pctl.lab.programs import CONTROL_PLANE, find_running, forget, mark_down, programs_of
from p2pdeploy.errors import UnavailableError
from p2pdeploy.topology import Host

__all__ = ["stop_fleet"]

_GRACE_S = 15.0  # a daemon flushes and leaves; libtorrent may need some seconds
_SERVICES_TIMEOUT_S = 90.0  # stop_timeout_s of every service of a host, one after the other
_AT_ONCE = 4  # an interpreter each; the machine may have two cores


def stop_fleet(folder: Path, tell: Callable[[str], None]) -> DownReport:
    """Stop daemons, then services, then the control plane; safe to repeat.

    Services outlive their daemon on purpose, so that each host's are stopped by themselves, when
    nothing is left that would start them again.

    Raises:
        ConfigError: there is no fleet in *folder*.
        UnavailableError: the services of a host would not stop; everything else was stopped.
    """
    hosts = read_hosts(folder)
    programs = programs_of(folder, hosts)
    mark_down(folder)  # before we look: an `up` at work starts nothing after it
    running = find_running(programs)
    if daemons := [name for name in running if name != CONTROL_PLANE]:
        tell(f"stopping {len(daemons)} daemons")
        stop_all([running[name] for name in daemons], _GRACE_S)
    faults = _stop_services(folder, hosts, tell)
    if CONTROL_PLANE in running:
        tell("stopping the control plane")
        stop_all([running[CONTROL_PLANE]], _GRACE_S)
    for program in programs:
        forget(program)
    if faults:
        raise UnavailableError(
            f"services did not stop: {'; '.join(faults)}",
            where=str(folder),
            hint="run 'p2pctl down' again",
            code="services-left",
        )
    return DownReport(dir=str(folder), stopped=sorted(running))


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
