"""``p2pctl fleet``: which versions of a service run, and where."""

from __future__ import annotations

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_versions, view_where
from p2pdeploy.ids import check_service, check_version

__all__ = ["fleet"]


@click.group("fleet")
def fleet() -> None:
    """Which versions of a service run, and where."""


@fleet.command("versions")
@click.argument("service", metavar="SVC", type=NAME)
@output_option
@fleet_option
def versions(service: str, output: Output, fleet: FleetDir) -> None:
    """Count the hosts by the version of SVC they run."""
    with fleet.connect() as api:
        found = api.versions(check_service(service))
    output.show(found, view_versions)


@fleet.command("where")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER")
@output_option
@fleet_option
def where(service: str, version: str, output: Output, fleet: FleetDir) -> None:
    """List the hosts that run version VER of SVC."""
    with fleet.connect() as api:
        found = api.where(check_service(service), check_version(version))
    output.show(found, view_where)
