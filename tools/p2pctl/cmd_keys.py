"""``p2pctl keys``: the signing keys of a fleet, on the machine that holds them."""

from __future__ import annotations

from pathlib import Path

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.trust import view_keys

__all__ = ["keys"]


@click.group("keys")
def keys() -> None:
    """Signing keys of the fleet: where they are, and where they belong.

    Works on the fleet's folder itself, so on the control plane's machine.
    """


@keys.command("status")
@output_option
@fleet_option
def status(output: Output, fleet: FleetDir) -> None:
    """List every key, where it is, and what a thief of it could do."""
    from p2pdeploy.trust.key_files import key_statuses

    output.show(key_statuses(fleet.path), view_keys)


@keys.command("export-offline")
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--role", "roles", multiple=True, help="Only this role; repeatable.")
@output_option
@fleet_option
def export(output: Output, fleet: FleetDir, out: Path, roles: tuple[str, ...]) -> None:
    """Move the keys that belong offline to the folder OUT, on a medium to be taken away.

    Nothing stops: the control plane goes on with the keys that stay.  Naming a publisher or
    rotating a key takes the moved ones again.
    """
    from p2pdeploy.trust.key_files import KEY_ROLES, export_offline

    offline = [role.name for role in KEY_ROLES if role.belongs == "offline"]
    for role in roles:
        if role not in offline:
            raise click.BadParameter(f"{role!r}; one of {', '.join(offline)}", param_hint="--role")
    output.show(export_offline(fleet.path, out, roles or offline), view_keys)
