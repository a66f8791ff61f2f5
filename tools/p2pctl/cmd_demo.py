"""``p2pctl demo``: the whole product at work on this machine, checked line by line."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click

from p2pctl.demo.payloads import find_example
from p2pctl.demo.story import Stage, StoryResult, tell_story
from p2pctl.fleet_dir import FOLDER_VARIABLE, FleetDir
from p2pctl.lab.layout import HOSTS_MAX, is_fleet
from p2pctl.lab.locking import FolderLock
from p2pctl.lab.starting import FAULT_DOMAINS_DEFAULT, HOSTS_DEFAULT, start_fleet
from p2pctl.lab.stopping import stop_fleet
from p2pctl.options import output_option
from p2pctl.output import Output, note, print_json, stderr_console, stdout_console
from p2pctl.publishing import PublishProgress
from p2pctl.render.demo import view_story
from p2pctl.showing import RolloutScreen
from p2pdeploy.errors import RefusedError, UnavailableError

__all__ = ["demo"]

_DATA_MIB_DEFAULT = 256
# Every host keeps two versions and stages a third; the registry and the tree one or two more.
_COPIES_PER_HOST = 3


@click.command("demo")
@click.option("--hosts", "host_count", type=click.IntRange(1, HOSTS_MAX), default=HOSTS_DEFAULT)
@click.option("--fault-domains", type=click.IntRange(min=1), default=FAULT_DOMAINS_DEFAULT)
@click.option(
    "--data-mib", type=click.IntRange(min=1), default=_DATA_MIB_DEFAULT, help="Generated data."
)
@click.option("--example", type=click.Path(path_type=Path), help="The hello payload to use.")
@click.option("--dir", "folder", metavar="DIR", help="New fleet's folder; else a temporary one.")
@click.option("--keep", is_flag=True, help="Leave the fleet up at the end.")
@output_option
def demo(
    host_count: int,
    fault_domains: int,
    data_mib: int,
    example: Path | None,
    folder: str | None,
    keep: bool,
    output: Output,
) -> int:
    """Start a fleet, publish and roll out two good versions of hello and a broken one, check.

    Exits with 1 when anything was not as told.
    """
    hello = find_example(example)
    home = _new_folder(folder)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore SIGINT
        signal.signal(number, _interrupt)
    as_told = False
    try:
        _check_room(home, host_count, data_mib)
        result = _play(home, hello, host_count, fault_domains, data_mib, keep)
        as_told = result.report.ok
    finally:
        if folder is None and not keep:
            _clear(home, keep_logs=not as_told)
    if output.is_json:
        print_json(result.report)
    else:
        stdout_console().print(view_story(result))
    if keep:
        note(f"the fleet stays up: export {FOLDER_VARIABLE}={home}; 'p2pctl down' stops it")
    return 0 if as_told else 1


def _new_folder(asked: str | None) -> Path:
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="p2pdeploy-demo-"))
    home = Path(asked).absolute()
    if is_fleet(home):
        raise RefusedError(
            "there is a fleet in this folder; the demo makes one of its own",
            where=str(home),
            hint="name a new folder, or none",
            code="in-use",
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def _play(
    home: Path, hello: Path, host_count: int, fault_domains: int, data_mib: int, keep: bool
) -> StoryResult:
    """Bring the fleet up, tell the story, take it down (not with *keep*, if all was told)."""
    stays = False
    lock = FolderLock(home)
    try:
        fleet = start_fleet(
            home,
            host_count=host_count,
            fault_domain_count=fault_domains,
            detach=keep,
            tell=note,
        )
        scratch = home / "demo"
        scratch.mkdir(mode=0o700)
        with FleetDir(home).connect() as api, RolloutScreen(stderr_console()) as screen:
            result = tell_story(
                Stage(
                    api=api,
                    hosts=fleet.hosts,
                    example=hello,
                    scratch=scratch,
                    data_bytes=data_mib * 1024 * 1024,
                    tell=note,
                    show=screen.show,
                    open_progress=lambda: PublishProgress(stderr_console()),
                )
            )
        stays = keep
        return result
    finally:
        if not stays and is_fleet(home):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # going down is not interrupted half-way
            stop_fleet(home, note)
        lock.close()


def _check_room(home: Path, host_count: int, data_mib: int) -> None:
    needed = (host_count * _COPIES_PER_HOST + _COPIES_PER_HOST) * data_mib * 1024 * 1024
    free = shutil.disk_usage(home).free
    if free < needed:
        raise UnavailableError(
            f"the demo needs {needed / 1024**3:.1f} GiB of disk, {free / 1024**3:.1f} GiB are free",
            where=str(home),
            hint="use --dir on a larger disk, or fewer --hosts, or less --data-mib",
            code="no-room",
        )


def _clear(home: Path, *, keep_logs: bool) -> None:
    """Remove the folder; of a demo that failed the logs stay, and it is said where."""
    for folder, _, _ in os.walk(home):
        with suppress(OSError):
            os.chmod(folder, 0o700)  # staged releases are read-only, their folders too
    if not keep_logs:
        shutil.rmtree(home, ignore_errors=True)
        return
    for child in home.iterdir():
        if child.name != "logs" and child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
    note(f"the logs stay in {home / 'logs'}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
