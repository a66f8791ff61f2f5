"""``p2pctl release``: what is published, and who signed it."""

from __future__ import annotations

from pathlib import Path

import click

from p2pctl.delegating import Renewal, delegate_service, public_key_in
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME, VERSION
from p2pctl.options import fleet_option, key_files_option, key_option, output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_delegations, view_release, view_releases
from p2pctl.signing import ReleaseSigner
from p2pdeploy.ids import check_digest, check_service, check_version
from p2pdeploy.trust.role_keys import RoleKeys

__all__ = ["release"]

_RELEASES_SHOWN = 50  # a screen or two; --limit and --after reach all of them


@click.group("release")
def release() -> None:
    """Show what is published; sign it; say who may."""


@release.command("show")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
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


@release.command("sign")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@click.option("--digest", metavar="DIGEST", help="Sign only if its manifest has this digest.")
@key_option
@output_option
@fleet_option
def sign(
    service: str,
    version: str,
    digest: str | None,
    key_file: Path | None,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Sign release VER of SVC as the registry has it; signing twice is signing once.

    What the control plane asks to have signed is looked at first: it must be this release added
    to what this service's publishers signed before, and nothing else.
    """
    name, number = check_service(service), check_version(version)
    wanted = check_digest(digest) if digest is not None else None
    with fleet.connect() as api:
        ReleaseSigner(api, key_file).sign_stored(name, number, wanted)
        found = api.release(name, number)
    output.show(found, view_release)


@release.command("delegate")
@click.argument("service", metavar="SVC", type=NAME)
@key_files_option("A targets key; as many as it takes.", required=True)
@click.option(
    "--publisher",
    "publishers",
    metavar="KEY",
    multiple=True,
    help="A publisher's public key in hexadecimal, or its key file; else DIR's own.",
)
@click.option("--threshold", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--keep",
    metavar="VER",
    multiple=True,
    help="A release that stays signed though nobody stays who signed it; with --sign-with.",
)
@click.option(
    "--sign-with",
    metavar="FILE",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The private key of a new publisher, which signs what --keep names.",
)
@output_option
@fleet_option
def delegate(
    service: str,
    key_files: tuple[Path, ...],
    publishers: tuple[str, ...],
    threshold: int,
    keep: tuple[str, ...],
    sign_with: tuple[Path, ...],
    output: Output,
    fleet: FleetDir,
) -> None:
    """Say who signs the releases of SVC.  The targets key signs here and goes nowhere.

    Where every key that signed leaves, stolen, say, new publishers sign in the same step what
    --keep names, and nothing else stays signed: a thief may have signed what was never published.
    """
    if bool(keep) != bool(sign_with):
        raise click.UsageError("--keep and --sign-with go together")
    named = publishers or (str(fleet.path / "operator" / "publisher.key"),)
    keys = RoleKeys(threshold=threshold, public_keys=tuple(public_key_in(each) for each in named))
    renewal = Renewal([check_version(each) for each in keep], sign_with) if keep else None
    with fleet.connect() as api:
        view = delegate_service(api, check_service(service), key_files, keys, renewal)
    output.show(view, view_delegations)
