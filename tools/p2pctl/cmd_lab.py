"""``p2pctl up`` and ``p2pctl down``: a fleet of real processes on this machine."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click
from rich.console import RenderableType
from rich.text import Text

from p2pctl.documents import DownReport, UpReport
from p2pctl.durations import show_duration
from p2pctl.fleet_dir import FOLDER_VARIABLE
from p2pctl.lab.layout import HOSTS_MAX, is_fleet, read_hosts
from p2pctl.lab.locking import FolderLock
from p2pctl.lab.programs import find_running, programs_of
from p2pctl.lab.readiness import names_of
from p2pctl.lab.starting import start_fleet, wait_end
from p2pctl.lab.stopping import stop_fleet
from p2pctl.options import folder_of, output_option
from p2pctl.output import Output, note
from p2pdeploy.errors import ConfigError, P2PDeployError, UnavailableError

__all__ = ["down", "up"]


_TELLS_HOW_TO_STOP = ("in-use", "going-down")
_ONE_KEY = (
    "one key of this machine approves rollouts; "
    "'p2pctl keys rotate rollout --public ...' hands that to people"
)


def _to_folder(context: click.Context, _parameter: click.Parameter, value: str | None) -> Path:
    folder = folder_of(context, value)
    if folder is None:
        raise ConfigError("no folder named", hint=f"use --dir DIR or set {FOLDER_VARIABLE}")
    return folder


_folder_option = click.option(
    "--dir", "folder", metavar="DIR", callback=_to_folder, help="The fleet's folder."
)


@click.command("up")
@click.option("--hosts", "host_count", type=click.IntRange(1, HOSTS_MAX), help="[default: 12]")
@click.option(
    "--fault-domains", "fault_domain_count", type=click.IntRange(min=1), help="[default: 3]"
)
@click.option("--detach", is_flag=True, help="Return when the fleet is up; 'down' stops it.")
@output_option
@_folder_option
def up(
    host_count: int | None,
    fault_domain_count: int | None,
    detach: bool,
    output: Output,
    folder: Path,
) -> None:
    """Start a control plane and host daemons, each a process of its own, in DIR.

    DIR is new or empty, or a fleet's; it is made readable by you alone.

    Stays in the foreground, where Ctrl-C takes the fleet down, unless --detach.  On the folder
    of a fleet that was stopped or crashed it goes on: same addresses, same state; what still
    runs is adopted.
    """
    # Set for SIGINT too: a shell starts its background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with FolderLock(folder):
        try:
            fleet = start_fleet(
                folder,
                host_count=host_count,
                fault_domain_count=fault_domain_count,
                detach=detach,
                tell=note,
            )
            output.show(fleet.report, _view_up)
            if (folder / "trust" / "keys" / "rollout.key").exists():
                note(_ONE_KEY)
            if not detach:
                note("Ctrl-C takes the fleet down")
                wait_end(fleet, note)
        except KeyboardInterrupt:
            _take_down(folder)
        except P2PDeployError as error:
            # What `down` overtook may have started one more process than `down` saw.
            if error.code == "taken-down" or (isinstance(error, UnavailableError) and not detach):
                _take_down(folder)
            elif error.code not in _TELLS_HOW_TO_STOP:
                _tell_left(folder)
            raise


def _tell_left(folder: Path) -> None:
    """Say what runs although ``up`` failed; nothing when nothing does."""
    if not is_fleet(folder):
        return
    with suppress(ConfigError):  # what is damaged is told by the error itself
        running = sorted(find_running(programs_of(folder, read_hosts(folder))))
        if running:
            note(f"still running: {names_of(running)}; 'p2pctl down --dir {folder}' stops them")


def _take_down(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # going down is not interrupted half-way
        signal.signal(number, signal.SIG_IGN)
    if is_fleet(folder):
        stop_fleet(folder, note)
        note("the fleet is down")


@click.command("down")
@output_option
@_folder_option
def down(output: Output, folder: Path) -> None:
    """Stop the fleet in DIR with all its services.  Its data stay; 'up' goes on with them.

    An 'up' that is starting gives up; another 'down' is waited for.
    """
    report = stop_fleet(folder, note)
    output.show(report, _view_down)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _view_up(report: UpReport) -> RenderableType:
    head = f"{report.hosts} hosts are up after {show_duration(report.seconds)}; API {report.api}"
    return Text(
        f"""{head}

use it with
  export {FOLDER_VARIABLE}={report.dir}
  p2pctl hosts
  p2pctl publish hello 1.0.0 examples/hello
  p2pctl rollout apply hello 1.0.0 --env lab --mf web
  p2pctl rollout get latest -w"""
    )


def _view_down(report: DownReport) -> RenderableType:
    if not report.stopped:
        return Text("nothing ran")
    return Text(f"stopped {len(report.stopped)} processes and their services")
