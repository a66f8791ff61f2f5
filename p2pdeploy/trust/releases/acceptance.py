"""When a proposal becomes a document: enough keys signed it, and it follows what is published."""

from __future__ import annotations

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.trust.releases.documents import (
    Delegator,
    Document,
    check_signatures,
    parse_document,
    parse_payload,
    signatures_of,
    to_document,
)
from p2pdeploy.trust.releases.library import Targets
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.releases.release_target import live_releases

__all__ = ["accept", "check_follows", "check_still_signed", "service_payload"]


def accept(delegator: Delegator, proposal: Proposal, kind: type[Document]) -> bytes:
    """The document of *proposal*.  Raises TrustError: too few of the keys that must signed it."""
    valid = check_signatures(delegator, proposal.role, proposal.payload, proposal.signatures)
    return to_document(proposal.payload, kind, valid, where=proposal.role)


def service_payload(proposal: Proposal) -> Targets:
    """What a service's publishers sign.  Raises TrustError: it names what is no release of it."""
    signed = parse_payload(proposal.payload, Targets, where=proposal.role)
    live_releases(signed, proposal.role.removeprefix("svc/"))
    return signed


def check_follows(current: bytes | None, kind: type[Document], version: int, role: str) -> None:
    """Raises RefusedError (``stale-proposal``): *version* is not the one after *current*."""
    before = 0
    if current is not None:
        before = parse_document(current, kind, where=role).signed.version
    if version != before + 1:
        raise RefusedError(
            f"made for version {version}, but version {before} is published",
            where=role,
            hint="propose and sign it again",
            code="stale-proposal",
        )


def check_still_signed(
    delegator: Delegator, role: str, document: bytes, kind: type[Document]
) -> None:
    """Raises RefusedError (``needs-signing``): the keys of *role* did not sign *document*."""
    parsed = parse_document(document, kind, where=role)
    try:
        check_signatures(delegator, role, parsed.signed_bytes, signatures_of(parsed))
    except TrustError as error:
        raise RefusedError(
            "the keys that remain have not signed its document",
            where=role,
            hint="have them sign it in the same step: of a service by --keep VER --sign-with KEY",
            code="needs-signing",
        ) from error
