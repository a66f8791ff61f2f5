"""A signed root or targets document as a file, and the proposal that it was.

Who makes a fleet writes the files; whoever keeps its repository takes them in as proposals, so
that they are judged like any that come later.
"""

from __future__ import annotations

from p2pdeploy.trust.releases.documents import (
    parse_document,
    signatures_of,
    to_document,
)
from p2pdeploy.trust.releases.library import Root, Targets
from p2pdeploy.trust.releases.proposals import Proposal, sign
from p2pdeploy.trust.signing import SigningKey

__all__ = ["proposal_in", "sign_file"]


def sign_file(proposal: Proposal, *keys: SigningKey) -> bytes:
    """The document that *proposal* becomes when *keys* sign it, without a look at who may."""
    signatures = dict(sign(proposal, key) for key in keys)
    if proposal.role == "root":
        return to_document(proposal.payload, Root, signatures, where="root")
    return to_document(proposal.payload, Targets, signatures, where=proposal.role)


def proposal_in(document: bytes, role: str) -> Proposal:
    """The proposal of *role* with its signatures, unjudged, as the file *document* has it.

    Raises:
        TrustError: it is no such document.
    """
    if role == "root":
        root = parse_document(document, Root, where=role)
        return Proposal(role=role, payload=root.signed_bytes, signatures=signatures_of(root))
    parsed = parse_document(document, Targets, where=role)
    return Proposal(role=role, payload=parsed.signed_bytes, signatures=signatures_of(parsed))
