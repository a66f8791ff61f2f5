"""``p2pctl rollout sign``: approve a rollout that waits for signatures, or what stands anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note, stderr_console
from p2pctl.render.rollout import rollout_line
from p2pctl.watching import LATEST, find_rollout
from p2pdeploy.errors import RefusedError

if TYPE_CHECKING:
    from rich.text import Text

    from p2pctl.client import ApiClient
    from p2pdeploy.messages.api import RolloutView
    from p2pdeploy.messages.approval import RolloutProposal
    from p2pdeploy.trust.signing import SigningKey

__all__ = ["sign"]

EXIT_FAILED = 1


@click.command("sign")
@click.argument("rollout_id", metavar="ID", type=NAME, required=False)
@click.option(
    "--standing",
    "all_standing",
    is_flag=True,
    help="Instead of ID: everything that stands, when ROLLOUTs are left to your key.",
)
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
def sign(
    rollout_id: str | None,
    all_standing: bool,
    key_file: Path,
    yes: bool,
    output: Output,
    fleet: FleetDir,
) -> int:
    """Approve a rollout that waits for signatures; with the last that it needs, it begins.

    What you approve is shown first, as it stands in the bytes that you sign.
    Exits with 1 when it was the last signature and the rollout fits no more what was signed.

    While ROLLOUTs are being left to other keys, these approve anew what stands already: in
    whatever state it is, nothing starts because of it.  --standing shows and signs all of that.
    """
    from p2pctl.signing import read_key

    if all_standing == (rollout_id is not None):
        raise click.UsageError("name a rollout, or --standing")
    key = read_key(key_file, "rollout")
    with fleet.connect() as api:
        if rollout_id is None:
            found = _sign_standing(api, key, yes=yes)
            output.show(found, _lines)
            return 0
        wanted = find_rollout(api, LATEST).id if rollout_id == LATEST else rollout_id
        proposal = api.rollout_proposal(wanted)
        _show(api, proposal, wanted)
        _confirm(f"Sign that as {key.key_id}?", yes=yes)
        done = _hand_in(api, proposal, key)
    output.show(done, rollout_line)
    return EXIT_FAILED if done.state == "failed" and not proposal.standing else 0


def _sign_standing(api: ApiClient, key: SigningKey, *, yes: bool) -> list[RolloutView]:
    """Show all that stands and that *key* has yet to sign, ask once, and sign it."""
    lacking = [each for each in api.standing_rollouts() if key.key_id not in each.signed_by]
    if not lacking:
        note(f"nothing stands that {key.key_id} has yet to sign")
        return []
    proposals = [api.rollout_proposal(each.rollout) for each in lacking]
    for proposal, each in zip(proposals, lacking, strict=True):
        _show(api, proposal, each.rollout)
        note("")
    _confirm(f"Sign these {len(proposals)} as {key.key_id}?", yes=yes)
    return [_hand_in(api, proposal, key) for proposal in proposals]


def _show(api: ApiClient, proposal: RolloutProposal, wanted: str) -> None:
    """Print what is to be signed; raises TrustError when it is nothing to sign."""
    from p2pctl.approving import check_release, check_standing, read_proposal
    from p2pctl.render.approval import view_approval

    now = datetime.now(UTC)
    rollouts = read_proposal(proposal, wanted, now)
    view = view_approval(
        rollouts,
        release_checked=check_release(api, rollouts[0], now, stands=bool(proposal.standing)),
        approved_before=check_standing(api, proposal, now) if proposal.standing else None,
        now=now,
    )
    stderr_console().print(view, crop=False)


def _hand_in(api: ApiClient, proposal: RolloutProposal, key: SigningKey) -> RolloutView:
    from p2pctl.approving import sign_proposal

    if key.key_id in proposal.signed_by:
        note(f"{proposal.rollout} has the signature of {key.key_id} already, and counts it once")
    done = api.sign_rollout(proposal.rollout, sign_proposal(proposal.payloads, key))
    if proposal.standing:
        count = len({*proposal.signed_by, key.key_id})
        note(f"{proposal.rollout}: {count} of {proposal.threshold} signatures of those who stay")
    return done


def _lines(rollouts: Sequence[RolloutView]) -> Text:
    from rich.text import Text

    return Text("\n".join(f"{each.id}: {rollout_line(each)}" for each in rollouts))


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is here to be asked; look at the above, then add -y")
    if not click.confirm(question, err=True):
        raise RefusedError("nothing was signed", code="not-confirmed")
