"""Orders that stand, sealed with the key that took over: nobody has to decide anything again.

Only what this control plane issued is sealed anew.  What came from a cell may be a thief's, signed
with the very key that is rotated because of him.  But of an ABORT the numbers are kept, whoever
said it: hosts have them on disk and do not forget, and who numbered plans below would start none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from p2pdeploy.codec import decode
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.state import item_of
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.orders import Abort
from p2pdeploy.trust.envelope import ROLE_OF, Envelope, Sealed, Sealer, seal
from p2ptracker.cells.replicas import Cells
from p2ptracker.storage.rollouts import StoredOrder

__all__ = ["SealedAnew", "Verify", "kept_aborts", "refused", "replace_in_cells", "sealed_anew"]

_KEPT = "aborted with a key that was rotated since"

Verify = Callable[[bytes], Sealed]


class SealedAnew(msgspec.Struct, frozen=True):
    """An order that stands: its row with the new envelope, and what it says."""

    row: StoredOrder
    message: Sealed


def sealed_anew(
    stored: Iterable[StoredOrder], role: str, sealer: Sealer, verify: Verify
) -> list[SealedAnew]:
    """Those of *stored* that this control plane issued in *role*, sealed by *sealer*.

    What carries its signature already is left out, and so is what *verify* refuses.
    """
    found: list[SealedAnew] = []
    for row in stored:
        if not row.issued or _is_signed_by(row.envelope, sealer.key_id):
            continue
        try:
            message = verify(row.envelope)
        except P2PDeployError:
            continue
        if ROLE_OF[type(message)] == role:
            envelope = seal(message, sealer)
            found.append(SealedAnew(msgspec.structs.replace(row, envelope=envelope), message))
    return found


def kept_aborts(
    gone: Iterable[StoredOrder], abort_sealer: Sealer, verify: Verify
) -> list[SealedAnew]:
    """The ABORTs among *gone*, which keys signed that leave, in our own words."""
    found: list[SealedAnew] = []
    for row in gone:
        try:
            message = verify(row.envelope)
        except P2PDeployError:
            continue
        if isinstance(message, Abort):
            kept = msgspec.structs.replace(message, code="key-rotated", reason=_KEPT)
            row = msgspec.structs.replace(row, envelope=seal(kept, abort_sealer))
            found.append(SealedAnew(row, kept))
    return found


def refused(stored: Iterable[StoredOrder], verify: Verify) -> list[StoredOrder]:
    """Those of *stored* that *verify* refuses: nobody believes them any more."""
    found: list[StoredOrder] = []
    for row in stored:
        try:
            verify(row.envelope)
        except P2PDeployError:
            found.append(row)
    return found


def replace_in_cells(cells: Cells, orders: Iterable[SealedAnew]) -> None:
    """Let the cells have *orders*, whose rows the caller has stored."""
    known = {replica.cell: replica for replica in cells.all()}
    for each in orders:
        if each.row.cell in known:
            item = item_of(each.message, each.row.envelope)
            known[each.row.cell].replace(item, each.message)


def _is_signed_by(envelope: bytes, key_id: str) -> bool:
    signatures = decode(envelope, Envelope, bytes_max=ENVELOPE_BYTES_MAX).signatures
    return any(signer == key_id for signer, _ in signatures)
