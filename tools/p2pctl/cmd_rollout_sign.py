"""``p2pctl rollout sign``: approve a rollout that waits for signatures."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note, stderr_console
from p2pctl.render.rollout import rollout_line
from p2pctl.watching import LATEST, find_rollout
from p2pdeploy.errors import RefusedError

__all__ = ["sign"]

EXIT_FAILED = 1


@click.command("sign")
@click.argument("rollout_id", metavar="ID", type=NAME)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your private key; it is used here and goes nowhere.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option
@fleet_option
def sign(rollout_id: str, key_file: Path, yes: bool, output: Output, fleet: FleetDir) -> int:
    """Approve a rollout that waits for signatures; with the last that it needs, it begins.

    What you approve is shown first, as it stands in the bytes that you sign.
    Exits with 1 when it was the last signature and the rollout fits no more what was signed.
    """
    from p2pctl.approving import check_release, read_proposal, sign_proposal
    from p2pctl.render.approval import view_approval
    from p2pctl.signing import read_key

    key, now = read_key(key_file, "rollout"), datetime.now(UTC)
    with fleet.connect() as api:
        wanted = find_rollout(api, LATEST).id if rollout_id == LATEST else rollout_id
        proposal = api.rollout_proposal(wanted)
        rollouts = read_proposal(proposal, wanted, now)
        is_checked = check_release(api, rollouts[0], now)
        stderr_console().print(
            view_approval(rollouts, release_checked=is_checked, now=now), crop=False
        )
        _confirm(f"Sign that as {key.key_id}?", yes=yes)
        if key.key_id in proposal.signed_by:
            note(f"{wanted} has the signature of {key.key_id} already, and counts it once")
        found = api.sign_rollout(wanted, sign_proposal(proposal.payloads, key))
    output.show(found, rollout_line)
    return EXIT_FAILED if found.state == "failed" else 0


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is here to be asked; look at the above, then add -y")
    if not click.confirm(question, err=True):
        raise RefusedError("nothing was signed", code="not-confirmed")
