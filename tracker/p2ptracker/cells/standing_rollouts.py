"""ROLLOUTs that stand, and who signed them.  Pure, but for the arithmetic of signatures.

A ROLLOUT stands while it is the newest of its service in its cell: what settled under it, and the
way back, count on a host only while the host holds it, for as long as nothing newer came.  So when
its keys go over to people, who alone can sign for themselves, they approve it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import msgspec

from p2pdeploy.codec import decode
from p2pdeploy.errors import P2PDeployError, RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import SIGNATURES_MAX, Envelope, Sealed, Signature, assemble
from p2ptracker.cells.sealing_anew import SealedAnew
from p2ptracker.storage.rollouts import StoredOrder

__all__ = ["StandingRollout", "approved_anew", "standing_rollouts"]

_KEY = "rollout/"  # p2pdeploy/gossip/state.py


class StandingRollout(msgspec.Struct, frozen=True):
    """The newest ROLLOUT of a service in a cell: its row, what it says, and who signed."""

    row: StoredOrder
    rollout: Rollout
    payload: bytes
    signatures: tuple[Signature, ...]


def standing_rollouts(
    stored: Iterable[StoredOrder], cells: Container[CellId], verify: Callable[[bytes], Sealed]
) -> list[StandingRollout]:
    """Those of *stored* that this control plane issued to *cells* and that *verify* takes.

    What came from a cell may be a thief's, and a cell that left the inventory waits for nothing.
    """
    found: list[StandingRollout] = []
    for row in stored:
        if not (row.issued and row.cell in cells and row.key.startswith(_KEY)):
            continue
        try:
            message = verify(row.envelope)
        except P2PDeployError:
            continue  # nobody believes it: it stands no more
        if isinstance(message, Rollout):
            envelope = decode(row.envelope, Envelope, bytes_max=ENVELOPE_BYTES_MAX)
            found.append(StandingRollout(row, message, envelope.payload, envelope.signatures))
    return found


def approved_anew(
    standing: StandingRollout, signature: Signature, believed: Container[str]
) -> SealedAnew:
    """*standing* with one signature more, which the caller verified, beside those that it has.

    Of these only what keys of *believed* signed: others left rotations ago.  Until the rotation
    ends either keys will do, so it is believed all the time.

    Raises:
        RefusedError: it has as many signatures as an envelope may have.
    """
    others = [
        (key_id, signed)
        for key_id, signed in standing.signatures
        if key_id in believed and key_id != signature[0]
    ]
    if len(others) >= SIGNATURES_MAX:
        raise RefusedError(
            f"{standing.rollout.rollout_id} has {len(others)} signatures, and no room for another",
            hint="a newer rollout of the service needs the new keys alone",
            code="too-many-signatures",
        )
    envelope = assemble(Rollout, standing.payload, (*others, signature))
    row = msgspec.structs.replace(standing.row, envelope=envelope)
    return SealedAnew(row, standing.rollout)
