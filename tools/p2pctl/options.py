"""Options that many commands share: ``-o json``, ``--dir DIR`` and ``--key FILE``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from p2pctl.fleet_dir import FOLDER_VARIABLE, FleetDir, open_fleet_dir
from p2pctl.output import Output, OutputFormat
from p2pdeploy.command_line import is_text
from p2pdeploy.errors import ConfigError

__all__ = ["fleet_option", "folder_of", "key_files_option", "key_option", "output_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)


def output_option(command: Command) -> Command:
    """Add ``-o json|table``; the command gets it as ``output: Output``."""
    return click.option(
        "-o",
        "--output",
        "output",
        type=click.Choice(["table", "json"]),
        default="table",
        callback=_to_output,
        help="table for people, json for scripts.",
    )(command)


def fleet_option(command: Command) -> Command:
    """Add ``--dir DIR``; the command gets the opened folder as ``fleet: FleetDir``.

    The same option before the command, or P2PDEPLOY_DIR, stands in for it.
    """
    return click.option(
        "--dir",
        "fleet",
        metavar="DIR",
        callback=_to_fleet,
        help=f"The fleet's folder; else {FOLDER_VARIABLE}.",
    )(command)


def key_option(command: Command) -> Command:
    """Add ``--key FILE``; the command gets it as ``key_file: Path | None``."""
    return click.option(
        "--key",
        "key_file",
        metavar="FILE",
        type=_FILE,
        help="A publisher's private key; else DIR/operator/publisher.key.",
    )(command)


def key_files_option(text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Add ``--key FILE``, repeatable; the command gets them as ``key_files: tuple[Path, ...]``."""
    return click.option(
        "--key",
        "key_files",
        metavar="FILE",
        multiple=True,
        required=required,
        type=_FILE,
        help=text,
    )


def folder_of(context: click.Context, value: str | None) -> Path | None:
    """The folder named by *value*, by ``--dir`` before the command or by P2PDEPLOY_DIR.

    Raises:
        ConfigError: its path is not UTF-8, so that no document could name it.
    """
    named = value or context.find_root().params.get("folder")
    if not named:
        return None
    folder = Path(named).absolute()
    if not is_text(str(folder)):  # of the folder we stand in, or of the environment
        raise ConfigError(f"the fleet's folder is not UTF-8: {str(folder)!r}", code="not-text")
    return folder


def _to_output(_context: click.Context, _parameter: click.Parameter, value: OutputFormat) -> Output:
    return Output(value)


def _to_fleet(context: click.Context, _parameter: click.Parameter, value: str | None) -> FleetDir:
    return open_fleet_dir(folder_of(context, value))
