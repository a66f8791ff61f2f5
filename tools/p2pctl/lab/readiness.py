"""Wait until a fleet is up: every process lives, every daemon answers and is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from p2pctl.documents import UpReport
from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.programs import Program, last_words, was_taken_down
from p2pctl.polling import poll
from p2pdeploy.errors import P2PDeployError, RefusedError, UnavailableError
from p2pdeploy.host_client import HostAddress, ask_status
from p2pdeploy.process_identity import ProcessIdentity, is_alive, reap
from p2pdeploy.topology import Host

__all__ = [
    "RunningFleet",
    "Tell",
    "check_alive",
    "check_running",
    "hosts_that_answer",
    "names_of",
    "taken_down",
    "wait_ready",
]

# Twelve interpreters and a first gossip round need about 10 s on two cores.
_READY_TIMEOUT_S = 90.0
_HOSTS_PER_PAGE = 10_000  # the API's most: hosts of the inventory that are elsewhere count as well
Tell = Callable[[str], None]


class RunningFleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet that is up.  ``programs`` and ``processes`` go together by name."""

    folder: Path
    hosts: list[Host]
    programs: list[Program]
    processes: dict[str, ProcessIdentity]
    report: UpReport


def wait_ready(fleet: RunningFleet, tell: Tell) -> None:
    """Return when the fleet is up.

    Raises:
        RefusedError: ``down`` stopped it meanwhile (``taken-down``).
        UnavailableError: a process ended, or a daemon did not join in time.
    """
    wanted = {host.name for host in fleet.hosts}
    missing, told = wanted, ""
    with FleetDir(fleet.folder).connect() as api:
        for _ in poll(_READY_TIMEOUT_S):
            check_running(fleet)
            try:
                seen = api.hosts(limit=_HOSTS_PER_PAGE)
            except UnavailableError as error:
                state = f"waiting for the control plane ({error.code})"
            else:
                alive = wanted & {host.name for host in seen if host.alive}
                missing = wanted - alive
                state = f"{len(alive)} of {len(wanted)} daemons joined"
            if state != told:
                tell(state)
                told = state
            # Gossip remembers a daemon for seconds after it died: ask each one itself.
            missing = missing or wanted - hosts_that_answer(fleet)
            if not missing:
                check_running(fleet)
                return
    raise UnavailableError(
        f"not ready after {_READY_TIMEOUT_S:.0f} s: {names_of(sorted(missing))} did not join",
        where=str(fleet.folder / "logs"),
        code="not-ready",
    )


def check_running(fleet: RunningFleet) -> None:
    """Raise as :func:`wait_ready` does when a process of the fleet is gone."""
    if was_taken_down(fleet.folder):
        raise taken_down(fleet.folder)
    for program in fleet.programs:
        check_alive(fleet.folder, program, fleet.processes)


def check_alive(folder: Path, program: Program, processes: Mapping[str, ProcessIdentity]) -> None:
    """Raise as :func:`wait_ready` does when *program* is gone."""
    identity = processes[program.name]
    if is_alive(identity):
        return
    reap(identity)
    if was_taken_down(folder):
        raise taken_down(folder)
    raise UnavailableError(
        f"{program.name} ended: {last_words(program) or 'it wrote nothing'}",
        where=str(program.log_path),
        code="process-ended",
    )


def taken_down(folder: Path) -> RefusedError:
    """The error of an ``up`` that a ``down`` overtook."""
    return RefusedError(
        "the fleet was taken down meanwhile",
        where=str(folder),
        hint=f"'p2pctl up --dir {folder}' starts it again",
        code="taken-down",
    )


def hosts_that_answer(fleet: RunningFleet) -> set[str]:
    """The hosts whose daemon answers on its own address as the very process that was started."""
    return trio.run(_ask_all, fleet)


async def _ask_all(fleet: RunningFleet) -> set[str]:
    answered: set[str] = set()
    identity = FleetDir(fleet.folder).identity()

    async def ask(host: Host) -> None:
        try:
            address = HostAddress(host.name, host.address, host.host_port, identity=identity)
            status = await ask_status(address)
        except P2PDeployError:
            return  # asked again at the next look
        if status.pid == fleet.processes[host.name].pid:
            answered.add(host.name)

    async with trio.open_nursery() as nursery:
        for host in fleet.hosts:
            nursery.start_soon(ask, host)
    return answered


def names_of(names: Sequence[str]) -> str:
    """The first few, in words."""
    return ", ".join(names[:6]) + (" and others" if len(names) > 6 else "")
