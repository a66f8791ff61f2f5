"""What a publisher checks before signing: the control plane that asks may be somebody's else.

A publisher's signature says: this document holds what was signed before, and the one release I
mean.  A proposal that also brings another release, that could never be followed, or that would
live for ever, is refused here, on the publisher's machine.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from p2pdeploy.trust.releases.documents import (
    parse_document,
    parse_payload,
    signatures_of,
)
from p2pdeploy.trust.releases.keys import service_role
from p2pdeploy.trust.releases.library import Metadata, Targets
from p2pdeploy.trust.releases.limits import CLOCK_BEHIND, SERVICE_LIFETIME
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.releases.refusals import Attack, refused
from p2pdeploy.trust.releases.release_target import LiveRelease, ReleaseTarget, live_releases
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import is_signed, key_id_of

__all__ = ["Review", "review"]


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What signing would do: ``dropped`` versions go, ``live_count`` remain."""

    added: tuple[ReleaseTarget, ...]
    dropped: tuple[str, ...]
    live_count: int
    expires_at: dt.datetime


def review(
    proposal: Proposal,
    *,
    service: str,
    expected: ReleaseTarget | None,
    current: bytes | None,
    publishers: RoleKeys,
    now: dt.datetime,
) -> Review:
    """Compare a proposal with what its signer means.

    Args:
        proposal: What somebody asks to have signed.
        service: The service that the signer publishes.
        expected: The release that the signer made; None when only the expiry is to be renewed.
        current: The document that the proposal follows, from anywhere; None for the first.
        publishers: The keys of the service, as the signer knows them.
        now: The signer's own time, in UTC.

    Raises:
        TrustError: it would say more than that; do not sign.
    """
    role = service_role(service)
    if proposal.role != role:
        raise refused(Attack.WRONG_KEY, f"the proposal is for {proposal.role}", where=role)
    signed = parse_payload(proposal.payload, Targets, where=role)
    before, version = _before(current, service, publishers)
    if signed.version != version + 1:
        raise refused(
            Attack.FAST_FORWARD, f"version {signed.version} after version {version}", where=role
        )
    if signed.expires > now + SERVICE_LIFETIME + CLOCK_BEHIND:
        raise refused(Attack.FREEZE, f"would live until {signed.expires}", where=role)
    if signed.delegations is not None or signed.unrecognized_fields:
        raise refused(Attack.MALFORMED, "says more than a service's document", where=role)
    after = live_releases(signed, service)
    added = _added(before, after, role)
    if added != (() if expected is None else (expected,)):
        names = ", ".join(sorted(release.path for release in added)) or "nothing"
        raise refused(Attack.UNKNOWN_RELEASE, f"would add other bytes: {names}", where=role)
    return Review(
        added=added,
        dropped=tuple(sorted(set(before) - set(after))),
        live_count=len(after),
        expires_at=signed.expires,
    )


def _before(
    current: bytes | None, service: str, publishers: RoleKeys
) -> tuple[dict[str, LiveRelease], int]:
    if current is None:
        return {}, 0
    role = service_role(service)
    document = parse_document(current, Targets, where=role)
    if not _signed_by_enough(document, publishers):
        raise refused(Attack.WRONG_KEY, "what it follows is not signed by us", where=role)
    return live_releases(document.signed, service), document.signed.version


def _signed_by_enough(document: Metadata[Targets], publishers: RoleKeys) -> bool:
    signatures, payload = signatures_of(document), document.signed_bytes
    valid = [
        key
        for key in publishers.public_keys
        if is_signed(key, payload, signatures.get(key_id_of("publisher", key), b""))
    ]
    return len(valid) >= publishers.threshold


def _added(
    before: dict[str, LiveRelease], after: dict[str, LiveRelease], role: str
) -> tuple[ReleaseTarget, ...]:
    for version in set(before) & set(after):
        if before[version] != after[version]:
            raise refused(Attack.MIX_AND_MATCH, f"changes what version {version} is", where=role)
    return tuple(after[version].release for version in sorted(set(after) - set(before)))
