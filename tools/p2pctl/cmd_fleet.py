"""``p2pctl fleet``: which versions of a service run, and where."""

from __future__ import annotations

import click

from p2pctl.client import ApiClient
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME, VERSION
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_versions, view_where
from p2pdeploy.errors import NotFoundError
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
    """Count the hosts by the version of SVC they run; an error when nobody ever published it."""
    with fleet.connect() as api:
        found = api.versions(check_service(service))
        if not found.versions:
            _require_published(api, found.service)
    output.show(found, view_versions)


@fleet.command("where")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@output_option
@fleet_option
def where(service: str, version: str, output: Output, fleet: FleetDir) -> None:
    """List the hosts that run version VER of SVC."""
    with fleet.connect() as api:
        found = api.where(check_service(service), check_version(version))
        if not found:
            _require_published(api, check_service(service))
    output.show(found, view_where)


def _require_published(api: ApiClient, service: str) -> None:
    """A misspelt name is not a service that runs nowhere."""
    if not api.releases(service, limit=1):
        raise NotFoundError(
            f"there is no service {service!r}: nobody has published a release of it",
            hint="'p2pctl hosts' shows what runs",
            code="no-service",
        )
