"""``p2pctl auth``: who may do what."""

from __future__ import annotations

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.trust import view_matrix

__all__ = ["auth"]


@click.group("auth")
def auth() -> None:
    """Who may do what."""


@auth.command("matrix")
@output_option
@fleet_option
def matrix(output: Output, fleet: FleetDir) -> None:
    """List every call with the roles that may make it.

    Roles stand in an operator's certificate.  'host' is a host of the fleet, for itself only;
    'anybody' needs no certificate.
    """
    with fleet.connect() as api:
        found = api.access_matrix()
    output.show(found, view_matrix)
