"""``p2pctl hosts``: the inventory and what runs on it."""

from __future__ import annotations

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_hosts
from p2pdeploy.errors import ConfigError, RefusedError

__all__ = ["hosts"]


@click.command("hosts")
@click.option(
    "--filter",
    "filters",
    metavar="KEY=GLOB",
    multiple=True,
    help="Only hosts whose KEY (name, environment, machine_function, cell, fault_domain, alive, "
    "service, version, state) matches; a bare GLOB is of the name.  All filters must match.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many hosts.")
@click.option("--after", metavar="NAME", default="", help="Start behind this host.")
@output_option
@fleet_option
def hosts(
    filters: tuple[str, ...], limit: int | None, after: str, output: Output, fleet: FleetDir
) -> None:
    """List hosts and what runs on them."""
    try:
        with fleet.connect() as api:
            found = api.hosts(filters=filters, limit=limit, after=after)
    except RefusedError as error:
        if error.code != "bad-filter":
            raise
        raise ConfigError(
            error.message, where="--filter", hint=error.hint, code=error.code
        ) from error
    output.show(found, view_hosts)
