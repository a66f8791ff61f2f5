"""``p2ptracker``: the control plane's command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import structlog

from p2pdeploy.command_line import run_program

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="p2pdeploy")
def cli() -> None:
    """Control plane of a fleet: registry, origin, announce endpoint and API."""


@cli.command()
@click.option(
    "--dir",
    "folder",
    required=True,
    envvar="P2PDEPLOY_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The fleet's folder, as 'p2pctl up' made it.",
)
def run(folder: Path) -> None:
    """Run every role of the control plane until SIGTERM."""
    from p2ptracker.config import load_config

    _log_as_json_lines(load_config(folder).log_level)  # a mistake is told before the wait below

    import trio  # heavy, as is what follows: --help must not wait for it

    from p2ptracker.run import run_control_plane

    trio.run(run_control_plane, folder)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--fleet", help="The fleet's name in every certificate; made up when not given.")
@click.option("--address", help="Where the control plane will listen; writes its files for that.")
def init(folder: Path, fleet: str | None, address: str | None) -> None:
    """Make the authorities and keys of a new fleet in DIR, and its files to begin with."""
    import datetime

    from p2pdeploy.trust.addresses import require_address
    from p2ptracker.authority.create import create_trust, new_fleet_name
    from p2ptracker.first_files import missing_files, write_first_files

    if address is not None:
        require_address(address, where="--address")  # before there are keys
    now = datetime.datetime.now(datetime.UTC)
    trust = create_trust(folder, fleet or new_fleet_name(), now=now)
    paths = trust.paths
    click.echo(f"fleet {trust.fleet}: authorities and keys made, readable by you alone")
    click.echo(f"  hosts and operators trust   {paths.fleet_ca}")
    click.echo(f"  the control plane signs by  {paths.keys}")
    click.echo(f"  the first operator          {paths.operator}")
    click.echo(f"  releases are signed by      {paths.publisher_key}")
    click.echo(
        "In production these belong offline: " + ", ".join(str(path) for path in paths.offline())
    )
    for path in write_first_files(folder, address) if address is not None else []:
        click.echo(f"to be looked over: {path}")
    if missing := missing_files(folder):
        names = ", ".join(path.name for path in missing)
        click.echo(f"still to be written: {names} (--address would have)")


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, help="viewer, admin...")
def operator(folder: Path, name: str, roles: tuple[str, ...]) -> None:
    """Make NAME an operator of the fleet in DIR, whoever else there is.

    For the day when no admin is left who could: it takes the fleet's CA, so this machine.
    Replaces DIR/operator/operator.pem; the control plane may run meanwhile.
    """
    import datetime

    from p2pdeploy.trust.private_files import make_private_folder, write_private
    from p2ptracker.authority.folder import open_trust
    from p2ptracker.operators.made_here import make_operator_here

    trust = open_trust(folder)
    pem = make_operator_here(trust, name, roles, now=datetime.datetime.now(datetime.UTC))
    make_private_folder(trust.paths.operator.parent)
    write_private(trust.paths.operator, pem)
    click.echo(f"{name} of {trust.fleet}: {', '.join(roles)}; key and certificate for 30 days in")
    click.echo(f"  {trust.paths.operator}")


def _log_as_json_lines(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.  Errors are one line on stderr; the exit code is the error's."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_program("p2ptracker", cli, words, log_defect=_log_defect))


def _log_defect() -> None:
    if structlog.is_configured():  # by run; the other commands have no log but their one line
        structlog.get_logger("p2ptracker").exception("control plane crashed")


if __name__ == "__main__":
    main()
