"""How a release gets its publishers' signatures: the API's documents between p2pctl and the
control plane.  Bytes are Base64 in JSON.

1. ``POST /v1/releases/{service}/{version}/proposal`` (no body): a :class:`ProposalView`.
2. The publisher reviews the proposal on its own machine and signs its payload.
3. ``POST /v1/releases/{service}/{version}/signature`` with a :class:`SignatureRequest`: a
   :class:`ProposalView` again.  HTTP 409 with code ``stale-proposal``: begin at 1 again.

``GET /v1/bundles/{service}?root=N`` is what hosts verify, ``GET /v1/bundles`` the same without a
service.  ``POST /v1/delegations`` with a :class:`DelegationRequest` says who publishes what.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import Digest
from p2pdeploy.messages.api import Document, ReleaseState

__all__ = [
    "DELEGATION_BYTES_MAX",
    "DelegationRequest",
    "DelegationView",
    "ProposalView",
    "SignatureRequest",
]

DELEGATION_BYTES_MAX = 1024 * 1024  # a targets document of 512 KiB and a service's, in Base64
_KEY_ID_CHARS_MAX = 128
_SIGNATURE_BYTES = 64  # Ed25519


class ProposalView(Document, frozen=True):
    """What a release still lacks.

    ``proposal`` is a ``p2pdeploy.trust.releases.proposals.Proposal`` and ``bundle`` what it
    follows; both are empty once the release is signed.  ``service_added``: this call made the
    service one of the fleet's, with the fleet's publishers.
    """

    state: ReleaseState
    missing_signatures: int = 0
    proposal: bytes = b""
    bundle: bytes = b""
    service_added: bool = False


class SignatureRequest(Document, frozen=True, forbid_unknown_fields=True):
    """One key's signature.  ``payload_digest``: BLAKE3 of what was signed."""

    key_id: Annotated[str, msgspec.Meta(max_length=_KEY_ID_CHARS_MAX)]
    signature: Annotated[
        bytes, msgspec.Meta(min_length=_SIGNATURE_BYTES, max_length=_SIGNATURE_BYTES)
    ]
    payload_digest: Digest


class DelegationRequest(Document, frozen=True, forbid_unknown_fields=True):
    """A signed targets document, as a Proposal.

    ``renewed``: the document of a service that nobody who signed it publishes any more, signed by
    those who do, as a Proposal; at most one.
    """

    proposal: bytes
    renewed: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=1)] = ()


class DelegationView(Document, frozen=True):
    """The services of the fleet and how many keys must sign for each."""

    services: dict[str, int]
