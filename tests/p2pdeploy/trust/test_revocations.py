"""Revocations travel as an item of the cell, and only the enrol key may say them."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.gossip.anti_entropy import open_item
from p2pdeploy.gossip.state import URGENCIES, CellState, urgency_of
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys
from p2pdeploy.trust.revocations import Revocations
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

CELL = CellId("lab.web.c0")
ENROL, GO = SigningKey.generate(role="enrol"), SigningKey.generate(role="go")
VERIFIER = FleetVerifier(
    OrderKeys(
        "lab",
        {
            role: RoleKeys(threshold=1, public_keys=(key.public_key,))
            for role, key in (("enrol", ENROL), ("go", GO))
        },
    )
)


def said(seq: int, cell: CellId = CELL) -> Revocations:
    floors = {HostName("h1"): seq}
    return Revocations(fleet="lab", cell=cell, seq=seq, floors=floors, refused={})


def verify(envelope: bytes):
    return open_envelope(envelope, VERIFIER)


def test_the_newest_word_is_kept() -> None:
    state = CellState(CELL)
    for seq in (2, 3, 1):
        item, _ = open_item(seal(said(seq), ENROL), CELL, verify)
        state.merge(item)
    held = state.get("revocations")
    assert held is not None
    assert verify(held.envelope) == said(3)


def test_it_is_told_before_other_orders() -> None:
    assert urgency_of("revocations") == 0 < URGENCIES


def test_revocations_by_another_key_are_refused() -> None:
    with pytest.raises(TrustError):
        verify(seal(said(1), GO))


def test_another_cells_revocations_are_refused() -> None:
    with pytest.raises(TrustError):
        open_item(seal(said(1, CellId("lab.web.c1")), ENROL), CELL, verify)
