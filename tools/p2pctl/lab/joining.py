"""The trust of a fleet on one machine: its authorities, and an identity for every host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.layout import daemon_config
from p2pctl.polling import poll
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment_desk import TokenRequest
from p2pdeploy.topology import Host

__all__ = ["join_hosts", "make_trust"]

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


def _ask_tokens(
    folder: Path, names: Sequence[HostName], check_running: Callable[[], None]
) -> dict[HostName, str]:
    last: UnavailableError | None = None
    request = TokenRequest(hosts=tuple(names))
    with FleetDir(folder).connect() as api:
        for _ in poll(_API_TIMEOUT_S):
            check_running()
            try:
                return {view.host: view.token for view in api.join_tokens(request)}
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
        raise UnavailableError(f"{program} {arguments[0]} failed: {words}", code="join-failed")
