"""The trust of a fleet on one machine: its authorities, and an identity for every host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from p2pctl.client import ApiClient
from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.layout import daemon_config
from p2pctl.polling import poll
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment_desk import TokenRequest
from p2pdeploy.topology import Host

__all__ = ["join_hosts", "make_trust", "revoked_hosts"]

T = TypeVar("T")
Tell = Callable[[str], None]

_PROGRAM_TIMEOUT_S = 60.0  # an interpreter's start and a few keys, on a machine that is busy
_API_TIMEOUT_S = 60.0  # the control plane's own start
_JOIN_AT_ONCE = 4  # each is an interpreter; more only wait for a core


def make_trust(folder: Path) -> None:
    """Make the fleet's authorities and keys, unless an ``up`` before this one did.

    Raises:
        UnavailableError: ``p2ptracker init`` failed; the message has its last words.
    """
    if not (folder / "trust" / "fleet.toml").exists():
        _run("p2ptracker", "init", str(folder))


def join_hosts(
    folder: Path, hosts: Sequence[Host], tell: Tell, check_running: Callable[[], None]
) -> None:
    """Let every host that has no identity yet join the fleet, whose control plane runs.

    Args:
        folder: The fleet's.
        hosts: All of them.
        tell: Told how far it is.
        check_running: Raises when the control plane has ended.

    Raises:
        UnavailableError: the control plane does not answer, or a host could not join.
    """
    names = [host.name for host in hosts if not _identity(folder, host.name).exists()]
    if not names:
        return
    tell(f"{len(names)} hosts join")
    tokens = _ask_tokens(folder, names, check_running)
    with ThreadPoolExecutor(_JOIN_AT_ONCE, thread_name_prefix="join") as pool:
        joining = [pool.submit(_join, folder, name, token) for name, token in tokens.items()]
        for one in joining:
            one.result()


def revoked_hosts(folder: Path, check_running: Callable[[], None]) -> frozenset[HostName]:
    """The hosts that were put out of the fleet, by its control plane, which runs.

    Raises:
        UnavailableError: the control plane does not answer.
    """
    status = _ask(folder, lambda api: api.enrolment(), check_running)
    return frozenset(each.host for each in status.hosts if each.state == "revoked")


def _ask_tokens(
    folder: Path, names: Sequence[HostName], check_running: Callable[[], None]
) -> dict[HostName, str]:
    request = TokenRequest(hosts=tuple(names))
    made = _ask(folder, lambda api: api.join_tokens(request), check_running)
    return {view.host: view.token for view in made}


def _ask(folder: Path, call: Callable[[ApiClient], T], check_running: Callable[[], None]) -> T:
    """The answer of a control plane that may still be starting."""
    last: UnavailableError | None = None
    with FleetDir(folder).connect() as api:
        for _ in poll(_API_TIMEOUT_S):
            check_running()
            try:
                return call(api)
            except UnavailableError as error:
                last = error
    raise last or UnavailableError("the control plane does not answer", where=str(folder))


def _join(folder: Path, name: HostName, token: str) -> None:
    config = daemon_config(folder, name)
    _run("p2pdaemon", "join", "-", "--config", str(config), says=token)


def _identity(folder: Path, name: HostName) -> Path:
    return daemon_config(folder, name).parent / "identity" / "leaf.pem"


def _run(program: str, *arguments: str, says: str = "") -> None:
    """Run one of our programs to its end; *says* goes to its standard input."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", program, *arguments],
            input=says,
            capture_output=True,
            text=True,
            timeout=_PROGRAM_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"{program} {arguments[0]} has not ended after {_PROGRAM_TIMEOUT_S:g} s"
        ) from error
    if done.returncode != 0:
        words = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise UnavailableError(
            f"{program} {arguments[0]} failed: {words}",
            hint="'p2pctl up' goes on from here once that is mended",
            code="join-failed",
        )
