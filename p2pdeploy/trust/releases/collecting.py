"""Joins the signatures of several owners on one proposal, until they are enough."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.documents import (
    Delegator,
    keys_of_role,
    parse_document,
    parse_payload,
    valid_signatures,
)
from p2pdeploy.trust.releases.library import Root, Targets
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.releases.refusals import Attack, refused
from p2pdeploy.trust.releases.repository import Repository

__all__ = ["join", "missing_signatures"]


def join(
    repository: Repository | None,
    proposal: Proposal,
    key_id: str,
    signature: bytes,
    *,
    under: Proposal | None = None,
) -> Proposal:
    """The proposal with one more signature; the same one again changes nothing.

    Args:
        repository: What is published; None while its first documents are made.
        proposal: What was signed.
        key_id: From ``sign``.
        signature: From ``sign``.
        under: A root or targets proposal that is to be accepted together with this one and says
            who may sign it.

    Raises:
        TrustError: this is no signature by a key that may sign the proposal; nothing is kept of
            it, so strangers can't fill a proposal up.
    """
    presented = {key_id: signature}
    if not any(
        valid_signatures(judge, proposal.role, proposal.payload, presented)
        for judge in _judges(repository, proposal, under)
    ):
        raise refused(
            Attack.WRONG_KEY, f"{key_id[:80]!r} did not sign this or may not", where=proposal.role
        )
    signatures = {**proposal.signatures, **presented}
    return msgspec.structs.replace(proposal, signatures=signatures)


def missing_signatures(
    repository: Repository | None, proposal: Proposal, *, under: Proposal | None = None
) -> int:
    """How many more it takes; of a root the larger number of what old and new keys lack."""
    missing = 0
    for judge in _judges(repository, proposal, under):
        valid = valid_signatures(judge, proposal.role, proposal.payload, proposal.signatures)
        missing = max(missing, keys_of_role(judge, proposal.role).threshold - len(valid))
    return missing


def _judges(
    repository: Repository | None, proposal: Proposal, under: Proposal | None
) -> list[Delegator]:
    """Who says which keys may sign: for a new root itself and the one before it."""
    if proposal.role == "root":
        own = parse_payload(proposal.payload, Root, where="root")
        return [own] if repository is None else [repository.root, own]
    if under is not None:
        if under.role == "root":
            return [parse_payload(under.payload, Root, where="root")]
        return [parse_payload(under.payload, Targets, where="targets")]
    if repository is None:
        raise TrustError("nothing is published that could say who may sign", where=proposal.role)
    if proposal.role == "targets":
        return [repository.root]
    return [parse_document(repository.targets, Targets, where="targets").signed]
