"""Start a fleet, or go on with one: what runs is adopted, what does not is started."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from p2pctl.documents import UpReport
from p2pctl.fleet_dir import FleetDir, write_private
from p2pctl.lab.layout import (
    API_PORT,
    control_plane_ports,
    host_ports,
    is_fleet,
    plan_hosts,
    prefix_of,
    read_hosts,
    write_layout,
)
from p2pctl.lab.programs import (
    CONTROL_PLANE,
    Program,
    find_running,
    last_log_lines,
    programs_of,
    start_program,
)
from p2pctl.lab.subnet import claim_recorded, claim_subnet
from p2pctl.polling import poll
from p2pdeploy.errors import ConfigError, RefusedError, UnavailableError
from p2pdeploy.process_identity import ProcessIdentity, is_alive, reap
from p2pdeploy.topology import Host

__all__ = ["RunningFleet", "start_fleet", "take_lock", "wait_end"]

HOSTS_DEFAULT, FAULT_DOMAINS_DEFAULT = 12, 3
# Twelve interpreters and a first gossip round need about 10 s on two cores.
_READY_TIMEOUT_S = 90.0
MODE_FILE = "run/up.json"
Tell = Callable[[str], None]


class RunningFleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet that is up.  ``programs`` and ``processes`` go together by name."""

    folder: Path
    hosts: list[Host]
    programs: list[Program]
    processes: dict[str, ProcessIdentity]
    report: UpReport


class _Mode(msgspec.Struct, frozen=True):
    detached: bool


def take_lock(folder: Path) -> int:
    """Make *folder* (0700) and take its lock; the returned descriptor holds it until closed.

    Raises:
        RefusedError: another ``up`` runs on it.
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot be used: {error.strerror}", where=str(folder)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise _in_use(folder, "another 'p2pctl up' runs on this folder") from error
    return descriptor


def start_fleet(
    folder: Path,
    *,
    host_count: int | None,
    fault_domain_count: int | None,
    detach: bool,
    tell: Tell,
) -> RunningFleet:
    """Bring up every process of the fleet in *folder*; the caller holds its lock.

    Args:
        folder: New or empty for a new fleet, else an existing fleet's.
        host_count: None for the default of a new fleet, or what an existing one has.
        fault_domain_count: The same.
        detach: The fleet stays when the caller ends; recorded, so that the next ``up`` knows.
        tell: Told in a few words how far it is.

    Returns:
        The fleet, when the API answers and every daemon is known to be alive.

    Raises:
        RefusedError: a detached fleet runs here in full, or its addresses are taken.
        ConfigError: the counts do not fit, or differ from the existing fleet's.
        UnavailableError: a process ended or was not ready in time.  What runs stays; ``down``
            stops it, another ``up`` goes on.
    """
    started_at = time.monotonic()
    hosts, running, guard = _prepare(folder, host_count, fault_domain_count)
    with guard:
        programs = programs_of(folder, hosts)
        write_private(folder / MODE_FILE, msgspec.json.encode(_Mode(detach)))
        processes, started = dict(running), list[str]()
        for program in programs:
            if program.name not in running:
                tell(f"starting {program.name}")
                processes[program.name] = start_program(program)
                started.append(program.name)
        fleet = RunningFleet(
            folder=folder,
            hosts=hosts,
            programs=programs,
            processes=processes,
            report=UpReport(
                dir=str(folder),
                api=f"http://{prefix_of(hosts)}.1:{API_PORT}",
                hosts=len(hosts),
                started=started,
                adopted=sorted(running),
                seconds=0.0,
            ),
        )
        _wait_ready(fleet, tell)
    seconds = round(time.monotonic() - started_at, 3)
    return msgspec.structs.replace(
        fleet, report=msgspec.structs.replace(fleet.report, seconds=seconds)
    )


def wait_end(fleet: RunningFleet, tell: Tell) -> None:
    """Wait until every process of the fleet has ended; tells of each that ends."""
    left = dict(fleet.processes)
    for _ in poll(None):
        for program in fleet.programs:
            identity = left.get(program.name)
            if identity is not None and not is_alive(identity):
                reap(identity)
                del left[program.name]
                tell(f"{program.name} ended; its log is {program.log_path}")
        if not left:
            return


def _prepare(
    folder: Path, host_count: int | None, fault_domain_count: int | None
) -> tuple[list[Host], dict[str, ProcessIdentity], socket.socket]:
    if is_fleet(folder):
        return _reopen(folder, host_count, fault_domain_count)
    ports = control_plane_ports()
    sample = plan_hosts(
        "127.0.0", host_count or HOSTS_DEFAULT, fault_domain_count or FAULT_DOMAINS_DEFAULT
    )
    for host in sample:
        ports += host_ports(host)
    prefix, guard = claim_subnet(folder, ports)
    hosts = plan_hosts(prefix, len(sample), len({host.fault_domain for host in sample}))
    write_layout(folder, prefix, hosts)
    return hosts, {}, guard


def _reopen(
    folder: Path, host_count: int | None, fault_domain_count: int | None
) -> tuple[list[Host], dict[str, ProcessIdentity], socket.socket]:
    hosts = read_hosts(folder)
    domains = {host.fault_domain for host in hosts}
    for asked, has, option in (
        (host_count, len(hosts), "--hosts"),
        (fault_domain_count, len(domains), "--fault-domains"),
    ):
        if asked is not None and asked != has:
            raise ConfigError(
                f"the fleet in {folder} has {has}, not {asked}",
                where=option,
                hint="leave the option out to go on with that fleet, or use a new folder",
                code="fleet-differs",
            )
    programs = programs_of(folder, hosts)
    running = find_running(programs)
    if len(running) == len(programs) and _was_detached(folder):
        raise _in_use(folder, "its fleet is up already")
    ports = [] if CONTROL_PLANE in running else control_plane_ports()
    for host in hosts:
        if host.name not in running:
            ports += host_ports(host)
    return hosts, running, claim_recorded(prefix_of(hosts), ports, folder)


def _was_detached(folder: Path) -> bool:
    try:
        return msgspec.json.decode((folder / MODE_FILE).read_bytes(), type=_Mode).detached
    except (OSError, msgspec.MsgspecError):
        return False


def _in_use(folder: Path, why: str) -> RefusedError:
    return RefusedError(
        why, where=str(folder), hint=f"'p2pctl down --dir {folder}' stops it", code="in-use"
    )


def _wait_ready(fleet: RunningFleet, tell: Tell) -> None:
    wanted = {host.name for host in fleet.hosts}
    missing, told = wanted, ""
    with FleetDir(fleet.folder).connect() as api:
        for _ in poll(_READY_TIMEOUT_S):
            _check_running(fleet)
            try:
                alive = {host.name for host in api.hosts(limit=len(wanted)) if host.alive}
            except UnavailableError as error:
                state = f"waiting for the control plane ({error.code})"
            else:
                missing = wanted - alive
                state = f"{len(alive)} of {len(wanted)} daemons joined"
            if state != told:
                tell(state)
                told = state
            if not missing:
                return
    raise UnavailableError(
        f"not ready after {_READY_TIMEOUT_S:.0f} s: {_names(sorted(missing))} did not join",
        where=str(fleet.folder / "logs"),
        code="not-ready",
    )


def _check_running(fleet: RunningFleet) -> None:
    for program in fleet.programs:
        identity = fleet.processes[program.name]
        if is_alive(identity):
            continue
        reap(identity)
        raise UnavailableError(
            f"{program.name} ended: {last_log_lines(program) or 'it wrote nothing'}",
            where=str(program.log_path),
            code="process-ended",
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" and others" if len(names) > 6 else "")
