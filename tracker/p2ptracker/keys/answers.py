"""What is answered about a key that is being rotated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.keys import RotationAnswer
from p2pdeploy.trust.releases.proposals import Proposal
from p2ptracker.keys.rotation import Rotation, Waits, due_at

__all__ = ["moment", "too_early", "under_way", "unsigned"]

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def unsigned(
    role: str, key_ids: tuple[str, ...], proposals: Iterable[Proposal], bundle: bytes
) -> RotationAnswer:
    """Nothing has changed: the owners of offline keys must sign *proposals*, judged by *bundle*."""
    return RotationAnswer(
        role=role,
        state="unsigned",
        key_ids=key_ids,
        by_itself=False,
        proposals=tuple(proposal.to_bytes() for proposal in proposals),
        bundle=bundle,
    )


def under_way(
    rotation: Rotation, waits: Waits, unsigned_rollouts: tuple[RolloutId, ...], *, by_itself: bool
) -> RotationAnswer:
    """How far *rotation* is; *by_itself*: nobody has to be asked for its next step."""
    return RotationAnswer(
        role=rotation.role,
        state=rotation.step,
        key_ids=rotation.keys.key_ids(rotation.role),
        next_at=moment(due_at(rotation, waits)),
        by_itself=by_itself,
        unsigned_rollouts=unsigned_rollouts,
    )


def too_early(rotation: Rotation, waits: Waits) -> RefusedError:
    """The error for who would finish *rotation* before its time."""
    since, due = moment(rotation.since), moment(due_at(rotation, waits))
    return RefusedError(
        f"too early: the {rotation.role} key is {rotation.step} since {since:{_TIME}}",
        hint=f"the next step may be made at {due:{_TIME}}",
        code="too-early",
    )


def moment(at: float) -> dt.datetime:
    """*at* seconds since the epoch, in UTC, to the second."""
    return dt.datetime.fromtimestamp(round(at), dt.UTC)
