"""``p2pctl release``: what is published."""

from __future__ import annotations

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_release, view_releases
from p2pdeploy.ids import check_service, check_version

__all__ = ["release"]

_RELEASES_SHOWN = 50  # a screen or two; --limit and --after reach all of them


@click.group("release")
def release() -> None:
    """Show what is published."""


@release.command("show")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER")
@output_option
@fleet_option
def show(service: str, version: str, output: Output, fleet: FleetDir) -> None:
    """Show release VER of SVC."""
    with fleet.connect() as api:
        found = api.release(check_service(service), check_version(version))
    output.show(found, view_release)


@release.command("list")
@click.argument("service", metavar="SVC", type=NAME)
@click.option("--limit", type=click.IntRange(min=1), default=_RELEASES_SHOWN, show_default=True)
@click.option("--after", metavar="VER", default="", help="Start behind this version.")
@output_option
@fleet_option
def list_releases(service: str, limit: int, after: str, output: Output, fleet: FleetDir) -> None:
    """List the releases of SVC."""
    with fleet.connect() as api:
        found = api.releases(check_service(service), limit=limit, after=after)
    output.show(found, view_releases)
