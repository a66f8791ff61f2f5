"""The keys of one cell's gossip, by epoch, and how they are rotated without losing a member.

A rotation is three steps, each a new ring that the control plane keeps and every host of the cell
asks for once a minute (with the rest of its trust bundle):

1. :func:`add_epoch`: everybody learns the new key, and goes on sending with the old one;
2. :func:`send_with_newest`: everybody accepts both and, once it has this ring, sends with the new;
3. :func:`drop_old_epochs`: the old key opens nothing any more, whoever holds it.

At least ``ROTATION_STEP_WAIT_S`` lies between two steps: what is sent after a step can be read by
everybody who made the step before it, so nobody may be more than one step behind.  A host whose
asking failed three times running is cut off from the control plane; it misses packets until it
gets through once, and is then a member again at once, because a ring is complete in itself.

Rotate on a schedule (a day; it bounds how old a replayed packet can be), and whenever a host is
revoked: a host that is refused the new ring is out of its cell's gossip after the third step.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId

__all__ = [
    "CELL_KEY_BYTES",
    "EPOCHS_MAX",
    "EPOCH_MAX",
    "KEYS_ASKED_EVERY_S",
    "ROTATION_STEP_WAIT_S",
    "CellKeys",
    "add_epoch",
    "drop_old_epochs",
    "first_cell_keys",
    "send_with_newest",
]

CELL_KEY_BYTES = 32  # AES-256
# A rotation holds two; a third and a fourth when a key is stolen while one is under way.
EPOCHS_MAX = 4
EPOCH_MAX = 2**32 - 1  # what a packet's header holds: a rotation a second for 136 years
KEYS_ASKED_EVERY_S = 60.0  # how often each host asks for its cell's ring
# Three asks: one may be lost and one may fall into a restart of the control plane.
ROTATION_STEP_WAIT_S = 3 * KEYS_ASKED_EVERY_S

_Epoch = Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]
_Key = Annotated[bytes, msgspec.Meta(min_length=CELL_KEY_BYTES, max_length=CELL_KEY_BYTES)]
_Keys = Annotated[
    tuple[tuple[_Epoch, _Key], ...], msgspec.Meta(min_length=1, max_length=EPOCHS_MAX)
]


class CellKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A cell's ring: what its members accept, and what they send with.

    ``keys`` are pairs of (epoch, key), oldest first.  A secret of the cell: sent only over
    channels that know who asks, kept only in private files, and left out of ``repr``.

    Raises:
        ValueError: epochs out of order, or ``sending`` is none of them (decoding reports both as
            ProtocolError).
    """

    cell: CellId
    keys: _Keys
    sending: _Epoch

    def __post_init__(self) -> None:
        epochs = self.epochs
        if not 1 <= len(epochs) <= EPOCHS_MAX or list(epochs) != sorted(set(epochs)):
            raise ValueError(f"1 to {EPOCHS_MAX} epochs in ascending order")
        if any(len(key) != CELL_KEY_BYTES for _, key in self.keys):
            raise ValueError(f"a cell key has {CELL_KEY_BYTES} bytes")
        if self.sending not in epochs:
            raise ValueError("the sending epoch is not among the keys")

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that are accepted, oldest first."""
        return tuple(epoch for epoch, _ in self.keys)

    def __repr__(self) -> str:
        return f"<CellKeys {self.cell}: accepts {self.epochs}, sends with {self.sending}>"


def first_cell_keys(cell: CellId, key: bytes) -> CellKeys:
    """The ring of a new cell; *key* is 32 random bytes."""
    return CellKeys(cell=cell, keys=((1, key),), sending=1)


def add_epoch(ring: CellKeys, key: bytes) -> CellKeys:
    """Step 1: accept *key* (32 random bytes) as the next epoch; send as before.

    May be called again before the other steps, when a key turns out to be stolen meanwhile.

    Raises:
        RefusedError: the ring is full; finish the rotation that is under way.
    """
    if len(ring.keys) == EPOCHS_MAX:
        raise RefusedError(
            f"{ring.cell} has {EPOCHS_MAX} gossip keys already",
            hint="let the rotation that is under way come to its end",
            code="rotation-under-way",
        )
    newest = ring.epochs[-1] + 1
    return CellKeys(cell=ring.cell, keys=(*ring.keys, (newest, key)), sending=ring.sending)


def send_with_newest(ring: CellKeys) -> CellKeys:
    """Step 2, ``ROTATION_STEP_WAIT_S`` after step 1: send with the newest, accept all."""
    return CellKeys(cell=ring.cell, keys=ring.keys, sending=ring.epochs[-1])


def drop_old_epochs(ring: CellKeys) -> CellKeys:
    """Step 3, ``ROTATION_STEP_WAIT_S`` after step 2: nothing before the sending epoch opens."""
    kept = tuple((epoch, key) for epoch, key in ring.keys if epoch >= ring.sending)
    return CellKeys(cell=ring.cell, keys=kept, sending=ring.sending)
