"""``p2pctl auth request|issue|accept``: how somebody new gets a certificate.

The one who asks makes the key and sends a request; an admin looks at it and sends a pass back.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from p2pctl.documents import AcceptReport, RequestReport
from p2pctl.fleet_dir import FOLDER_VARIABLE, FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note, print_json
from p2pctl.render.trust import view_issued
from p2pdeploy.ids import check_label
from p2pdeploy.messages.operators import (
    DAYS_MAX,
    IssueRequest,
    OperatorPass,
    OperatorRequest,
)

__all__ = ["accept", "is_terminal", "issue", "request"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("request", short_help="Make a key for yourself, and a request for an admin.")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, help="What you want to be: viewer, publisher:SVC..."
)
@click.option("--out", "folder", required=True, type=_FOLDER, help="Your own folder; made.")
@output_option
def request(name: str, roles: tuple[str, ...], folder: Path, output: Output) -> None:
    """Make a key for yourself in a FOLDER, and a request that you send to an admin."""
    from p2pctl.operator_folder import make_request

    path, fingerprint = make_request(folder.absolute(), name, roles)
    if output.is_json:
        made = RequestReport(name=name, request=str(path), key_fingerprint=fingerprint)
        print_json(made)
    else:
        click.echo(path)
    note(f"Send that file to an admin, and say that your key is {fingerprint}.")
    note(f"What comes back: p2pctl auth accept {name}.pass --key {folder}")


@click.command("issue", short_help="Give somebody a certificate, as an admin.")
@click.argument("file", metavar="REQUEST", type=_FILE)
@click.option("--role", "roles", multiple=True, help="What they become, whatever they asked for.")
@click.option("--days", type=click.IntRange(1, DAYS_MAX), default=DAYS_MAX, show_default=True)
@click.option("--replace", is_flag=True, help="Revoke the certificates that the name has.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The pass to write.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needs --role.")
@output_option
@fleet_option
def issue(
    file: Path,
    roles: tuple[str, ...],
    days: int,
    replace: bool,
    out: Path | None,
    yes: bool,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Give whoever made REQUEST a certificate, as an admin; writes the pass to send back.

    Compare the key with the one that they tell you: a request is just a file.
    """
    from p2pctl.operator_folder import authority_of, make_pass, read_document
    from p2pdeploy.trust.private_files import write_private

    asked = read_document(file, OperatorRequest)
    check_label(asked.name, "operator name")  # before it is shown: it may hold anything
    _confirm(asked, roles, days, yes=yes)
    wanted = IssueRequest(
        name=asked.name,
        roles=roles or asked.roles,
        request=asked.request,
        days=days,
        replaces=replace,
    )
    with fleet.connect() as api:
        issued = api.issue_operator(wanted)
    path = out or file.with_name(f"{asked.name}.pass")
    write_private(path, make_pass(fleet, issued))
    output.show(issued, view_issued)
    note(f"Send {path} back; the fleet's number is {authority_of(fleet.path)}.")


def _confirm(asked: OperatorRequest, roles: tuple[str, ...], days: int, *, yes: bool) -> None:
    """Have a person look at it; raises UsageError, or Abort when they say no."""
    from p2pdeploy.trust.operator_certificate import key_fingerprint

    if yes and not roles:
        raise click.UsageError("-y needs --role: nobody has looked at what the request asks for")
    note(f"who asks    {asked.name}")
    note(f"their key   {key_fingerprint(request=asked.request)}")
    note(f"asked for   {_list(asked.roles)}")
    note(f"will get    {_list(roles or asked.roles)}, for {days} days")
    if yes:
        return
    if not is_terminal():
        raise click.UsageError("nobody is here to agree; say --role and -y")
    click.confirm("Is that right?", abort=True, err=True)


def is_terminal() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def _list(roles: tuple[str, ...]) -> str:
    return ", ".join(repr(role)[1:-1] for role in roles) or "nothing"


@click.command("accept", short_help="Put what an admin sent you beside your key.")
@click.argument("file", metavar="PASS", type=_FILE)
@click.option("--key", "folder", required=True, type=_FOLDER, help="The folder of your request.")
@output_option
def accept(file: Path, folder: Path, output: Output) -> None:
    """Put what an admin sent you beside your key; then the folder is one for --dir."""
    from p2pctl.operator_folder import accept_pass, authority_of, read_document

    given = read_document(file, OperatorPass)
    found = accept_pass(folder.absolute(), given, now=dt.datetime.now(dt.UTC))
    identity = found.identity
    note(f"You are {identity.name} of {identity.fleet}: {_list(found.roles)}.")
    number = authority_of(folder)
    note(f"The fleet's number is {number}: ask the admin whether theirs is that.")
    if not output.is_json:
        click.echo(f"export {FOLDER_VARIABLE}={folder.absolute()}")
        return
    report = AcceptReport(
        dir=str(folder.absolute()),
        name=identity.name,
        fleet=identity.fleet,
        roles=found.roles,
        fleet_number=number,
    )
    print_json(report)
