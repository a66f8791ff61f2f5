"""Start a fleet, or go on with one: what runs is adopted, what does not is started."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from p2pctl.documents import UpReport
from p2pctl.lab.checking import require_new_or_ours, require_startable
from p2pctl.lab.joining import join_hosts, make_trust, revoked_hosts
from p2pctl.lab.layout import (
    API_PORT,
    control_plane_ports,
    host_ports,
    is_fleet,
    laid_out,
    plan_hosts,
    prefix_of,
    read_hosts,
    write_layout,
)
from p2pctl.lab.locking import ProcessesLock, in_use
from p2pctl.lab.programs import (
    CONTROL_PLANE,
    Program,
    find_running,
    programs_of,
    record_mode,
    start_program,
    was_detached,
    was_taken_down,
)
from p2pctl.lab.readiness import (
    RunningFleet,
    Tell,
    check_alive,
    names_of,
    taken_down,
    wait_ready,
)
from p2pctl.lab.subnet import claim_recorded, claim_subnet
from p2pctl.polling import poll
from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import HostName
from p2pdeploy.process_identity import ProcessIdentity, is_alive, reap
from p2pdeploy.topology import Host

__all__ = ["start_fleet", "wait_end"]

HOSTS_DEFAULT, FAULT_DOMAINS_DEFAULT = 12, 3


def start_fleet(
    folder: Path,
    *,
    host_count: int | None,
    fault_domain_count: int | None,
    detach: bool,
    tell: Tell,
) -> RunningFleet:
    """Bring up every process of the fleet in *folder*; the caller holds its lock.

    Hosts of the inventory that have no folder here are left alone, and so are revoked ones.

    Args:
        folder: New or empty for a new fleet, else an existing fleet's.
        host_count: None for the default of a new fleet, or what an existing one has.
        fault_domain_count: The same.
        detach: The fleet stays when the caller ends; recorded, so that the next ``up`` knows.
        tell: Told in a few words how far it is.

    Returns:
        The fleet, when the API answers and every daemon is known to be alive.

    Raises:
        RefusedError: a detached fleet runs here in full, its addresses are taken, or ``down`` is
            stopping it (``going-down``) or did so meanwhile (``taken-down``).
        ConfigError: the counts do not fit, or differ from the existing fleet's.
        UnavailableError: a process ended or was not ready in time.  What runs stays; ``down``
            stops it, another ``up`` goes on.
    """
    started_at = time.monotonic()
    with ExitStack() as held:
        here, running = _prepare(folder, host_count, fault_domain_count, held)
        control_plane = programs_of(folder, [])
        record_mode(folder, detached=detach)
        processes = dict(running)
        started = _start_rest(folder, control_plane, processes, tell)
        check_running = partial(check_alive, folder, control_plane[0], processes)
        hosts, report = _choose(folder, here, revoked_hosts(folder, check_running), tell)
        join_hosts(folder, hosts, tell, check_running)
        programs = programs_of(folder, hosts)
        started += _start_rest(folder, programs, processes, tell)
        adopted = sorted(program.name for program in programs if program.name in running)
        fleet = RunningFleet(
            folder=folder,
            hosts=hosts,
            programs=programs,
            processes={program.name: processes[program.name] for program in programs},
            report=msgspec.structs.replace(report, started=started, adopted=adopted),
        )
        wait_ready(fleet, tell)
    seconds = round(time.monotonic() - started_at, 3)
    report = msgspec.structs.replace(fleet.report, seconds=seconds)
    return msgspec.structs.replace(fleet, report=report)


def _choose(
    folder: Path, here: list[Host], revoked: frozenset[HostName], tell: Tell
) -> tuple[list[Host], UpReport]:
    """The hosts to start, and a report that names those that are not; tells of these as well."""
    hosts = [host for host in here if host.name not in revoked]
    known = {host.name for host in here}
    elsewhere = sorted(host.name for host in read_hosts(folder) if host.name not in known)
    out = sorted(revoked & known)
    if elsewhere:
        tell(f"left alone, since they have no folder here: {names_of(elsewhere)}")
    if out:
        tell(
            f"revoked, so not started: {names_of(out)}; 'p2pctl enroll token --host {out[0]}' and "
            "'p2pdaemon join TOKEN --again' let one in again"
        )
    return hosts, UpReport(
        dir=str(folder),
        api=f"https://{prefix_of(here)}.1:{API_PORT}",
        hosts=len(hosts),
        started=[],
        adopted=[],
        left_alone=tuple(elsewhere),
        revoked=tuple(out),
        seconds=0.0,
    )


def _start_rest(
    folder: Path, programs: Sequence[Program], processes: dict[str, ProcessIdentity], tell: Tell
) -> list[str]:
    """Start the programs that are not among *processes*, add them there; return their names."""
    started: list[str] = []
    for program in programs:
        if program.name in processes:
            continue
        if was_taken_down(folder):
            raise taken_down(folder)
        tell(f"starting {program.name}")
        processes[program.name] = start_program(program)
        started.append(program.name)
    return started


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
    folder: Path, host_count: int | None, fault_domain_count: int | None, held: ExitStack
) -> tuple[list[Host], dict[str, ProcessIdentity]]:
    """The fleet's hosts and what runs; *held* gets its processes' lock and its subnet's guard."""
    if is_fleet(folder):
        _hold_processes(folder, held)  # before the look at what runs: it stays true
        hosts, running, guard = _reopen(folder, host_count, fault_domain_count)
        held.enter_context(guard)
        return hosts, running
    hosts, guard = _found(folder, host_count, fault_domain_count)
    held.enter_context(guard)
    _hold_processes(folder, held)
    return hosts, {}


def _hold_processes(folder: Path, held: ExitStack) -> None:
    if not held.enter_context(ProcessesLock(folder)).take():
        raise RefusedError(
            "a 'p2pctl down' is stopping this fleet",
            where=str(folder),
            hint="start it again when that has ended",
            code="going-down",
        )


def _found(
    folder: Path, host_count: int | None, fault_domain_count: int | None
) -> tuple[list[Host], socket.socket]:
    """Lay out a new fleet on addresses of its own."""
    require_new_or_ours(folder)
    ports = control_plane_ports()
    sample = plan_hosts(
        "127.0.0", host_count or HOSTS_DEFAULT, fault_domain_count or FAULT_DOMAINS_DEFAULT
    )
    for host in sample:
        ports += host_ports(host)
    prefix, guard = claim_subnet(folder, ports)
    hosts = plan_hosts(prefix, len(sample), len({host.fault_domain for host in sample}))
    make_trust(folder)
    write_layout(folder, prefix, hosts)
    return hosts, guard


def _reopen(
    folder: Path, host_count: int | None, fault_domain_count: int | None
) -> tuple[list[Host], dict[str, ProcessIdentity], socket.socket]:
    hosts = laid_out(folder, read_hosts(folder))
    if not hosts:
        raise ConfigError(
            "no host of this fleet has its folder here",
            where=str(folder),
            hint="start 'p2ptracker run' and each 'p2pdaemon run' yourself, or use a new folder",
            code="no-hosts",
        )
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
    require_startable(folder, hosts)
    programs = programs_of(folder, hosts)
    running = find_running(programs)
    if len(running) == len(programs) and was_detached(folder):
        raise in_use(folder, "its fleet is up already")
    ports = [] if CONTROL_PLANE in running else control_plane_ports()
    for host in hosts:
        if host.name not in running:
            ports += host_ports(host)
    return hosts, running, claim_recorded(prefix_of(hosts), ports, folder)
