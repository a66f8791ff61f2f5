"""``p2pctl auth``: who may do what, and certificates for people and jobs."""

from __future__ import annotations

import re

import click

from p2pctl.cmd_auth_pass import accept, issue, request
from p2pctl.fleet_dir import FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note
from p2pctl.render.trust import view_issued, view_matrix, view_operators
from p2pdeploy.messages.operators import RenewalRequest, RevocationRequest

__all__ = ["auth"]

_SERIAL = re.compile(r"[0-9A-Fa-f]{16,}")  # nobody is called like that


@click.group("auth")
def auth() -> None:
    """Who may do what, and certificates for people and jobs.

    Somebody new: 'auth request' where they work, 'auth issue' where an admin works, 'auth accept'.
    """


auth.add_command(request)
auth.add_command(issue)
auth.add_command(accept)


@auth.command("renew", short_help="Replace your own certificate while it holds.")
@output_option
@fleet_option
def renew(output: Output, fleet: FleetDir) -> None:
    """Replace your own certificate while it holds: same name and roles, another key."""
    from p2pctl.operator_folder import renew_key, write_issued

    key_pem, signing_request = renew_key()
    with fleet.connect(warns=False) as api:
        issued = api.renew_operator(RenewalRequest(request=signing_request))
    write_issued(fleet.path, key_pem, issued)
    output.show(issued, view_issued)


@auth.command("list", short_help="List certificates of people and jobs.")
@output_option
@fleet_option
def list_operators(output: Output, fleet: FleetDir) -> None:
    """List certificates of people and jobs; those that ended a month ago are not shown."""
    with fleet.connect() as api:
        found = api.operators()
    output.show(found, view_operators)


@auth.command("revoke", short_help="Take certificates of somebody back.")
@click.argument("who", metavar="NAME|SERIAL")
@click.option("--reason", default="", help="Shown by 'auth list'.")
@output_option
@fleet_option
def revoke(who: str, reason: str, output: Output, fleet: FleetDir) -> None:
    """Take back every certificate of NAME, or one and what it was renewed into.

    The control plane refuses them from now on, hosts within a minute.
    """
    is_serial = _SERIAL.fullmatch(who) is not None
    wanted = RevocationRequest(
        name="" if is_serial else who, serial=who if is_serial else "", reason=reason
    )
    with fleet.connect() as api:
        gone = api.revoke_operator(wanted)
    output.show(gone, view_operators)
    note(f"{who} is revoked; the control plane refuses it now")


@auth.command("matrix", short_help="List every call with the roles that may make it.")
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
