"""``p2pctl keys``: the signing keys of a fleet, where they are, and their rotation."""

from __future__ import annotations

from pathlib import Path

import click

from p2pctl.delegating import public_key_in
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, key_files_option, output_option
from p2pctl.output import Output
from p2pctl.render.trust import (
    expiring_soon,
    view_key_files,
    view_keys,
    view_new_key,
    view_rotation,
)
from p2pdeploy.messages.keys import RotationRequest

__all__ = ["keys"]


@click.group("keys")
def keys() -> None:
    """Signing keys of the fleet: who has them, where they belong, and their rotation."""


@keys.command("status")
@click.option("--folder", "is_folder", is_flag=True, help="DIR alone, without the control plane.")
@output_option
@fleet_option
def status(output: Output, fleet: FleetDir, is_folder: bool) -> None:
    """List every key, where it is, what a thief of it could do, and where a rotation stands."""
    if is_folder:
        from p2pdeploy.trust.key_files import key_statuses

        output.show(key_statuses(fleet.path), view_key_files)
        return
    with fleet.connect() as api:
        found = api.keys()
    output.show(found, view_keys)
    for line in expiring_soon(found):
        click.echo(line, err=True)


@keys.command("export-offline")
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--role", "roles", multiple=True, help="Only this role; repeatable.")
@output_option
@fleet_option
def export(output: Output, fleet: FleetDir, out: Path, roles: tuple[str, ...]) -> None:
    """Move the keys that belong offline to the folder OUT, on a medium to be taken away.

    Works on the control plane's machine.  Nothing stops: it goes on with the keys that stay, and
    holds no copy.  Naming a publisher or rotating a key takes the moved ones again.
    """
    from p2pdeploy.trust.key_files import KEY_ROLES, export_offline

    offline = [role.name for role in KEY_ROLES if role.belongs == "offline"]
    for role in roles:
        if role not in offline:
            raise click.BadParameter(f"{role!r}; one of {', '.join(offline)}", param_hint="--role")
    output.show(export_offline(fleet.path, out, roles or offline), view_key_files)


@keys.command("generate")
@click.argument("out", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@output_option
def generate(out: Path, output: Output) -> None:
    """Make a key for yourself: the private half in OUT, the public one in OUT.pub.

    OUT signs, goes nowhere and is never shown to anybody; OUT.pub is for whoever gives you rights.
    """
    from p2pctl.rotating import generate_key

    output.show(generate_key(out), view_new_key)


@keys.command("rotate")
@click.argument("role", metavar="ROLE", type=NAME)
@click.option(
    "--public",
    "publics",
    metavar="KEY",
    multiple=True,
    help="Who signs from now on: OUT.pub of 'keys generate', or its 64 digits. Repeatable.",
)
@click.option(
    "--threshold",
    type=click.IntRange(min=1, max=16),
    default=1,
    show_default=True,
    help="How many of them must sign.",
)
@key_files_option("A key that lies offline and must sign this; repeatable.")
@click.option("--finish", is_flag=True, help="The old keys count no more.")
@click.option(
    "--abandon-standing",
    is_flag=True,
    help="With --finish: even where rollouts stand that only keys which leave have approved.",
)
@output_option
@fleet_option
def rotate(
    role: str,
    publics: tuple[str, ...],
    threshold: int,
    key_files: tuple[Path, ...],
    finish: bool,
    abandon_standing: bool,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Give ROLE other keys, while everything runs.

    Without --public the control plane makes the new key itself.  Hosts learn of it, it takes over,
    and the old one is dropped, each step some minutes after the other: 'keys status' shows which.
    With the targets key offline, name it with --key here and again with --finish.

    Left to people, ROLLOUTs that stand are approved anew by them ('rollout sign --standing'); the
    end waits for it.  With a stolen key in a hurry, --abandon-standing does not: a host that comes
    late, or was wiped, then gets such a service with its next rollout, and none is reverted.
    """
    from p2pctl.rotating import rotate_key

    if abandon_standing and not finish:
        raise click.UsageError("--abandon-standing goes with --finish")

    request = RotationRequest(
        public_keys=tuple(public_key_in(text) for text in publics),
        threshold=threshold,
        finish=finish,
        abandon_standing=abandon_standing,
    )
    with fleet.connect() as api:
        output.show(rotate_key(api, role, request, key_files), view_rotation)


@keys.command("renew")
@click.argument("what", metavar="root|targets|SVC", type=NAME)
@key_files_option(
    "The key that signs it; repeatable. Of a service, else DIR's own publisher's key."
)
@output_option
@fleet_option
def renew(what: str, key_files: tuple[Path, ...], output: Output, fleet: FleetDir) -> None:
    """Sign a document again before it expires: what it says stays as it is.

    The root holds for a year, targets for 90 days, what is live of a service for a year.  Where
    the key lies with the control plane, targets are renewed by themselves.
    """
    from p2pctl.rotating import renew_document

    is_role = what in ("root", "targets")
    own = fleet.path / "operator" / "publisher.key"
    if not is_role and not key_files and own.exists():
        key_files = (own,)
    with fleet.connect() as api:
        output.show(renew_document(api, what, key_files, is_role=is_role), view_rotation)
