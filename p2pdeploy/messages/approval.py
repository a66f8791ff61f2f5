"""How a ROLLOUT gets the signatures of people: documents between p2pctl and the control plane.

1. ``GET /v1/rollouts/{id}/proposal``: a :class:`RolloutProposal`.
2. The signer reads what stands in its payloads, on its own machine, and signs each of them.
3. ``POST /v1/rollouts/{id}/signatures`` with an :class:`ApprovalRequest`: the rollout as it stands
   after that.

While other keys take over in the role, the same goes for a rollout that stands already; which these
are says ``GET /v1/rollouts/standing``, a list of :class:`StandingView`.

Bytes are Base64 in JSON.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.api import Document

__all__ = ["CELLS_APPROVED_MAX", "ApprovalRequest", "RolloutProposal", "StandingView"]

CELLS_APPROVED_MAX = 2_048  # as many signatures as fit the API's largest body, 256 KiB
_KEY_ID_CHARS_MAX = 128
_SIGNATURE_BYTES = 64  # Ed25519

_Signature = Annotated[
    bytes, msgspec.Meta(min_length=_SIGNATURE_BYTES, max_length=_SIGNATURE_BYTES)
]


class RolloutProposal(Document, frozen=True):
    """What a rollout needs signed: one encoded ROLLOUT for each of its cells.

    ``signed_by`` lists the keys that signed already, ``threshold`` says how many must.  Whoever
    signs believes the payloads alone, which are the bytes that the signature covers.

    Of a rollout that stands already, and is approved anew because its keys leave the role,
    ``standing`` are the envelopes of these payloads, with the signatures that they have.
    """

    rollout: RolloutId
    payloads: list[bytes]
    signed_by: list[str]
    threshold: int
    standing: tuple[bytes, ...] = ()


class StandingView(Document, frozen=True):
    """A rollout that stands, and that the keys which take over have not approved well enough.

    ``signed_by``: those of them that signed it in every cell in which it lacks signatures.
    """

    rollout: RolloutId
    signed_by: list[str]
    threshold: int


class ApprovalRequest(Document, frozen=True, forbid_unknown_fields=True):
    """One key's signatures, in the order of the proposal's payloads and as many."""

    key_id: Annotated[str, msgspec.Meta(max_length=_KEY_ID_CHARS_MAX)]
    signatures: Annotated[
        list[_Signature], msgspec.Meta(min_length=1, max_length=CELLS_APPROVED_MAX)
    ]
